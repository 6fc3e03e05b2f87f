"""Which campaigns bring leads that close, and what an MQL and a win cost through each."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from models.cutoff import Estimate
from training.funnel.people import NO_CAMPAIGN
from training.funnel.rates import added, estimates, shrunk, tallies, with_rates

LEAST_WINS = 5
"Fewer wins (or MQLs) than this: no cost per win (or MQL), since one more would change it much."


@dataclass(frozen=True)
class Window:
    """Which leads and costs are put in relation, all half-open."""

    follow_up_days: int
    "Every lead is followed for as long, so that an old campaign has no head start."
    matured_until: pd.Timestamp
    "Leads created until then have been followed to the end."
    cost_from: pd.Timestamp | None
    "First day with costs and leads; None without costs."
    cost_until: pd.Timestamp | None


def window_of(
    costs: pd.DataFrame, first_created: pd.Timestamp, data_until: pd.Timestamp, horizon_days: int
) -> Window:
    """Return the window of leads and `costs`; `first_created` is the first lead's creation.

    From a lead to a win it takes longer than from an MQL, so leads are followed for four or two
    horizons, where that is at most a third of the history; else for one.
    """
    history_days = (data_until - first_created) / pd.Timedelta(days=1)
    times = next((n for n in (4, 2) if n * horizon_days <= history_days / 3), 1)
    matured_until = data_until - pd.Timedelta(days=times * horizon_days)
    first = max(costs["day"].min(), first_created.floor("D"))  # NaT without costs
    until = min(costs["day"].max() + pd.Timedelta(days=1), matured_until)
    if costs.empty or until <= first:
        return Window(times * horizon_days, matured_until, None, None)
    return Window(times * horizon_days, matured_until, first, until)


@dataclass(frozen=True)
class Campaign:
    """What one campaign brought: first touch, followed for `follow_up_days` from their creation.

    A won opportunity counts once: its leads share it.
    """

    campaign: str
    leads: int
    matured_leads: int
    "Followed to the end. All below but `mqls_touched` is theirs."
    mqls: int
    won_leads: int
    wins: float
    win_rate: Estimate | None
    "Share of the matured leads that won."
    win_rate_shrunk: float | None
    "The same drawn towards the mean of all campaigns, as far as its leads are few: for ranking."
    value: float | None
    "Amounts of the wins, shared as they are; None where no amount is known."
    mqls_touched: int
    "All MQLs whose last touch before it was this campaign."
    cost: float | None
    "In the window of the costs; None without any."
    cost_per_mql: Estimate | None
    cost_per_win: Estimate | None
    "Of leads created in the window of the costs; None without costs, or where too few to say."
    why_no_cost: str = ""
    "Why there is no cost per win."


@dataclass(frozen=True)
class CampaignFigures:
    """All campaigns, the best first by their shrunk win rate."""

    follow_up_days: int
    won_in_time_share: float | None
    "Of the matured leads won so far, those that won within the follow-up."
    do_differ: bool
    "Whether the win rates of the campaigns differ by more than luck."
    cost_from: str | None
    cost_until: str | None
    "Days, the last one not included; None without costs."
    campaigns: tuple[Campaign, ...]
    unknown_costs: tuple[str, ...]
    "Campaigns with costs that no event names."


def tally_campaigns(
    people: pd.DataFrame,
    passes: pd.DataFrame,
    dealt: pd.DataFrame,
    touched: pd.DataFrame,
    window: Window,
) -> dict[str, pd.DataFrame]:
    """Return the sums by campaign of one part, to be added to those of the others.

    `people` of `came`, `passes` of `passes_of`, `dealt` of `deals`, `touched` of `touches`.
    """
    leads = _lead_figures(people, passes, dealt, window.follow_up_days)
    matured = leads[leads["created_at"] <= window.matured_until]
    found = {
        "won": _tally(matured, "is_won"),
        "mql": _tally(matured, "is_mql"),
        "counts": leads.assign(leads=1).groupby("campaign")[["leads"]].sum(),
        "sums": matured.groupby("campaign")[["share", "value", "with_amount", "won_ever"]].sum(),
        "touched": passes["last_campaign"].value_counts().rename_axis("campaign").to_frame("mqls"),
        "named": touched["campaign"].value_counts().rename_axis("campaign").to_frame("events"),
    }
    if window.cost_from is not None and window.cost_until is not None:
        is_within = matured["created_at"] >= window.cost_from
        is_within &= matured["created_at"] < window.cost_until
        found["cost_share"] = _tally(matured[is_within], "share")
        found["cost_mql"] = _tally(matured[is_within], "is_mql")
    return found


def _tally(leads: pd.DataFrame, hits: str) -> pd.DataFrame:
    return tallies(leads["campaign"], leads["account"].to_numpy(), leads[hits].to_numpy(float))


def _lead_figures(
    people: pd.DataFrame, passes: pd.DataFrame, dealt: pd.DataFrame, follow_up_days: int
) -> pd.DataFrame:
    """Return `people` with is_mql, is_won, share, value, with_amount (in time), won_ever."""
    follow_up = pd.Timedelta(days=follow_up_days)
    leads = people.copy()
    first_mql = passes.groupby("lead_id")["mql_at"].min().reindex(leads.index)
    leads["is_mql"] = (first_mql - leads["created_at"] < follow_up).to_numpy(bool)
    won = dealt[dealt["stage"] == "closed_won"]
    created = leads["created_at"].loc[won["lead_id"]].to_numpy()
    in_time = won[(won["closed_at"] - created < follow_up).to_numpy(bool)]
    by_lead = in_time.assign(
        value=in_time["amount"] * in_time["share"], with_amount=in_time["amount"].notna()
    ).groupby("lead_id")
    for name in ("share", "value", "with_amount"):
        leads[name] = by_lead[name].sum().reindex(leads.index).fillna(0.0).astype(float)
    leads["is_won"] = leads["share"] > 0
    leads["won_ever"] = leads.index.isin(won["lead_id"])
    return leads


def campaign_figures(
    parts: list[dict[str, pd.DataFrame]], costs: pd.DataFrame, window: Window
) -> CampaignFigures | None:
    """Return the figures of the campaigns from the sums of all parts; None without any campaign."""
    found = {name: added([part[name] for part in parts]) for name in parts[0]}
    if set(found["counts"].index) <= {NO_CAMPAIGN}:
        return None
    cost = _costs(costs, window)
    rates, ranked = estimates(with_rates(found["won"])), shrunk(found["won"])
    per_mql = _cost_per(cost, found.get("cost_mql"))
    per_win = _cost_per(cost, found.get("cost_share"))
    campaigns = []
    for name, row in _counted(found).items():
        own_cost = None if cost is None else cost.get(name)
        campaigns.append(
            Campaign(
                campaign=name,
                leads=int(row["leads"]),
                matured_leads=int(row["matured"]),
                mqls=int(row["mqls"]),
                won_leads=int(row["won"]),
                wins=row["share"],
                win_rate=rates.get(name),
                win_rate_shrunk=ranked.rates.get(name),
                value=row["value"] if row["with_amount"] else None,
                mqls_touched=int(row["touched"]),
                cost=own_cost,
                cost_per_mql=per_mql.get(name),
                cost_per_win=per_win.get(name),
                why_no_cost="" if name in per_win else _why_no_cost(row, cost, own_cost),
            )
        )
    won_ever = float(found["sums"]["won_ever"].sum())
    return CampaignFigures(
        follow_up_days=window.follow_up_days,
        won_in_time_share=float(found["won"]["hits"].sum() / won_ever) if won_ever else None,
        do_differ=ranked.do_differ,
        cost_from=None if cost is None else f"{window.cost_from:%Y-%m-%d}",
        cost_until=None if cost is None else f"{window.cost_until:%Y-%m-%d}",
        campaigns=tuple(sorted(campaigns, key=_place)),
        unknown_costs=tuple(sorted(set(cost or ()) - set(found["named"].index))),
    )


def _place(campaign: Campaign) -> tuple[float, int, str]:
    rate = campaign.win_rate_shrunk  # those too young to have one come last
    return (1.0 if rate is None else -rate, -campaign.leads, campaign.campaign)


def _counted(found: dict[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """Return by campaign that brought a lead or touched an MQL last its plain sums, else 0."""
    names = found["counts"].index.union(found["touched"].index)
    rows = found["counts"].reindex(names).join(found["sums"])
    rows["matured"], rows["won"] = found["won"]["rows"], found["won"]["hits"]
    rows["mqls"], rows["touched"] = found["mql"]["hits"], found["touched"]["mqls"]
    counted = rows.fillna(0.0).astype(float).to_dict("index")
    return {str(name): {str(key): row[key] for key in row} for name, row in counted.items()}


def _costs(costs: pd.DataFrame, window: Window) -> dict[str, float] | None:
    """Return the cost by campaign in the window; None without one."""
    if window.cost_from is None:
        return None
    is_within = (costs["day"] >= window.cost_from) & (costs["day"] < window.cost_until)
    sums = costs[is_within].groupby("campaign")["cost"].sum()
    return {str(name): float(cost) for name, cost in zip(sums.index, sums, strict=True)}


def _cost_per(cost: dict[str, float] | None, tallied: pd.DataFrame | None) -> dict[str, Estimate]:
    """Return by campaign its cost per hit, where it has enough of them.

    The cost is known, so the interval is that of the rate at which leads become hits.
    """
    if cost is None or tallied is None:
        return {}
    rates = with_rates(tallied)
    rates = rates[(rates["hits"] >= LEAST_WINS) & rates.index.isin(cost)]
    found = {}
    for (name, rate), rows in zip(estimates(rates).items(), rates["rows"], strict=True):
        assert rate.low is not None and rate.high is not None
        lead = cost[name] / float(rows)
        found[name] = Estimate(lead / rate.value, lead / rate.high, lead / rate.low)
    return found


def _why_no_cost(
    row: dict[str, float], cost: dict[str, float] | None, own_cost: float | None
) -> str:
    if not row["leads"]:
        return "brought no lead"
    if not row["matured"]:
        return "too young to tell"
    if cost is None or own_cost is None:
        return "no costs known"
    return "too few wins to say"
