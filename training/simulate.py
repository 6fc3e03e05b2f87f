"""The demo CRM: a B2B funnel as raw contract tables, and its best possible probabilities.

What is hidden, what is recorded: every account has a buying stage nobody sees; its leads act at
rates that depend on it (`simulation.funnel`), deals open, close and are recycled
(`simulation.history`), sales works what the points rule brings (`simulation.sales`).
`simulation.truth` knows the laws, but only what is recorded, and gives the probability no model
can beat on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.exploration import are_drawn
from features.life_config import ExplorationConfig
from features.outputs import written_aside
from training.simulation.crm import account_ids, crm_tables
from training.simulation.duplicates import add_email_hashes
from training.simulation.funnel import Funnel, make_funnel
from training.simulation.history import History, play
from training.simulation.leaks import plant_leaks
from training.simulation.names import lead_ids, take
from training.simulation.people import draw_people
from training.simulation.truth import best_probabilities


@dataclass(frozen=True)
class Demo:
    """A simulated CRM export and what only its maker knows."""

    tables: dict[str, pd.DataFrame]
    "Raw tables of the contract in `features.tables`, by name."
    truth: pd.DataFrame
    "`lead_id`, `as_of` (Monday 00:00 UTC), `probability` of a win in the 91 days from `as_of`."
    planted: tuple[str, ...] = ()
    "Leaking attributes, as `table.column`."


def simulate(
    leads: int = 20_000,
    seed: int = 0,
    weeks: int = 104,
    drift: bool = False,
    handoff_effect: float = 1.0,
    planted_leaks: bool = False,
    exploration_share: float = 0.0,
) -> Demo:
    """Return a demo CRM with `weeks` of history up to 2026-01-05; the same arguments, the same CRM.

    `drift` changes the laws of the newest 26 weeks (see `make_funnel`). A handoff to sales (stage
    change `sal`) multiplies the account's forward rates by `handoff_effect`; the truth is then the
    probability without further handoffs. `planted_leaks` adds three attributes that know the
    outcome (see `plant_leaks`); the truth does not read them. `exploration_share` of the accounts
    are drawn as `features.exploration` draws them: their leads go to sales once, marked, although
    their points are too few.

    >>> demo = simulate(leads=50, seed=1, weeks=30)
    >>> demo.tables["leads"]["lead_id"].nunique()
    50
    """
    if leads < 10 or weeks < 4 or not 0 < handoff_effect <= 4:
        raise ValueError("leads >= 10, weeks >= 4 and 0 < handoff_effect <= 4 are needed")
    exploration = ExplorationConfig(share=exploration_share)
    funnel = make_funnel(weeks, drift, handoff_effect)
    people_rng, play_rng, text_rng, leak_rng, mail_rng = np.random.default_rng(seed).spawn(5)
    accounts, people = draw_people(funnel, leads, people_rng)
    is_drawn = are_drawn(
        exploration,
        pd.Series(lead_ids(len(people.account))),
        pd.Series(account_ids(accounts, people.account)),
    )
    history = play(funnel, accounts, people, play_rng, is_drawn)
    tables = crm_tables(funnel, history, text_rng)
    add_email_hashes(tables, mail_rng)
    planted = plant_leaks(tables, leak_rng) if planted_leaks else ()
    return Demo(tables, _truth_frame(funnel, history), planted)


def _truth_frame(funnel: Funnel, history: History) -> pd.DataFrame:
    """Return the truth with ids and instants, sorted by as_of then lead_id."""
    best = best_probabilities(funnel, history)
    return pd.DataFrame(
        {
            "lead_id": take(lead_ids(len(history.leads.account)), best.lead),
            "as_of": funnel.mondays[best.monday].astype("datetime64[us]"),
            "probability": best.probability,
        }
    )


def write_demo(demo: Demo, folder: Path) -> None:
    """Write `folder/TABLE.parquet` for each table and `folder/truth/truth.parquet`.

    Every file is written aside and then renamed; the same demo gives the same bytes.
    """
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    for name, table in demo.tables.items():
        _write_parquet(table, folder / f"{name}.parquet")
    _write_parquet(demo.truth, folder / "truth" / "truth.parquet")


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    # Without pandas' metadata: its version has no place in the bytes.
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    with written_aside(path) as aside:
        pq.write_table(arrow, aside)
