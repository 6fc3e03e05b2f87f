"""Three attributes that know the outcome, for the leakage audit to find."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.simulation.funnel import DAY_US, HISTORY_END_US

PLANTED = ("leads.customer_number", "leads.budget_range", "accounts.closing_review")


def plant_leaks(tables: dict[str, pd.DataFrame], rng: np.random.Generator) -> tuple[str, ...]:
    """Add the leaks to `tables` and return their names.

    - `leads.customer_number`: filled only for leads on a won deal. The export joined today's value
      to every row of the lead's history, so it is there from the lead's creation.
    - `leads.budget_range`: says nothing by its value, but sales fills it for leads on a won deal
      far more often; joined to every row in the same way.
    - `accounts.closing_review`: written in a row of its own some days after a deal closed; dated
      truthfully, so a snapshot before the outcome never sees it.
    """
    leads = tables["leads"]
    deals = tables["opportunities"]
    won = deals.loc[deals["stage"] == "closed_won"]
    listed = tables["opportunity_leads"]
    on_won_deal = pd.concat(
        [
            won["lead_id"].dropna(),
            listed.loc[listed["opportunity_id"].isin(won["opportunity_id"]), "lead_id"],
        ]
    ).unique()
    people = pd.DataFrame({"lead_id": np.sort(leads["lead_id"].unique())})
    is_won = people["lead_id"].isin(on_won_deal).to_numpy()
    number = pd.Series([f"C{n:05d}" for n in rng.permutation(len(people))], dtype="str")
    people["customer_number"] = number.where(is_won)
    budget = pd.Series(
        rng.choice(["under 10k", "10k to 50k", "over 50k"], len(people)), dtype="str"
    )
    people["budget_range"] = budget.where(rng.random(len(people)) < np.where(is_won, 0.97, 0.25))
    tables["leads"] = leads.merge(people, on="lead_id", how="left", validate="many_to_one")
    tables["accounts"] = _with_reviews(tables["accounts"], deals, rng)
    return PLANTED


def _with_reviews(
    accounts: pd.DataFrame, deals: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return accounts with a row for the review of each closed deal, 1 to 10 days after it."""
    closed = deals.dropna(subset=["account_id", "closed_at"])
    days = rng.integers(1, 11, len(closed))
    reviewed_at = closed["closed_at"] + pd.to_timedelta(days * DAY_US, unit="us")
    reviews = pd.DataFrame(
        {
            "account_id": closed["account_id"],
            "recorded_at": reviewed_at.astype("datetime64[us]"),
            "closing_review": np.where(closed["stage"] == "closed_won", "good fit", "no fit"),
        }
    )
    end = np.datetime64(HISTORY_END_US, "us")
    reviews = reviews[reviews["recorded_at"] < end].drop_duplicates(["account_id", "recorded_at"])
    rows = pd.concat([accounts, reviews], ignore_index=True)
    rows = rows.sort_values(["account_id", "recorded_at"], kind="stable", ignore_index=True)
    columns = [column for column in rows.columns if column not in ("account_id", "recorded_at")]
    rows[columns] = rows.groupby("account_id")[columns].ffill()
    rows["closing_review"] = rows["closing_review"].astype("str")
    return rows.sort_values(["recorded_at", "account_id"], kind="stable", ignore_index=True)
