"""What sales did with a lead, and when we learned of it: tables of verdicts and stages, dated."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.config import Config
from features.parts.partitions import Part, Partitions
from features.tables import Tables
from training.part_examples import ACCOUNT

WORKED_STAGES = ("sal", "sql")


def work_of_sales(tables: Tables, component: pd.Series) -> pd.DataFrame:
    """Return lead_id, account component and recorded_at of all that says sales worked a lead.

    A change to sal or sql, or a verdict whatever it says. An opportunity is not asked for: every
    win has one, so counting it would make each win worked by definition, and the unworked win
    never. `component`: of each lead, by its id.
    """
    changes = tables.stage_changes
    taken_up = changes[changes["stage"].isin(WORKED_STAGES)]
    columns = ["lead_id", "recorded_at"]
    work = pd.concat([taken_up[columns], tables.verdicts[columns]], ignore_index=True)
    return work.assign(**{ACCOUNT: component.reindex(work["lead_id"]).to_numpy()})


def worked_within(
    work: pd.DataFrame, rows: pd.DataFrame, horizon_days: int, whose: str
) -> np.ndarray:
    """Return 1.0 for rows that sales worked in `[as_of, as_of + horizon)`, else 0.0.

    `work` is that of `work_of_sales`; `whose`, a column of both, says whether the lead itself was
    worked (`lead_id`) or anybody of its account (ACCOUNT).
    """
    found = pd.merge_asof(
        rows[[whose, "as_of"]].reset_index(drop=True).rename_axis("row").reset_index()
        .sort_values("as_of", kind="stable"),
        work[work[whose].notna()].astype({whose: rows[whose].dtype})
        .sort_values("recorded_at", kind="stable"),
        left_on="as_of", right_on="recorded_at", by=whose, direction="forward",
    ).sort_values("row")  # fmt: skip
    waited = found["recorded_at"] - found["as_of"]
    return (waited < pd.Timedelta(days=horizon_days)).to_numpy(float)


def acceptances(tables: Tables) -> pd.DataFrame:
    """Return lead_id and recorded_at of all that says sales took a lead up: sal, sql, accepted."""
    changes, verdicts = tables.stage_changes, tables.verdicts
    taken_up = changes[changes["stage"].isin(WORKED_STAGES)]
    accepted = verdicts[verdicts["verdict"] == "accepted"]
    columns = ["lead_id", "recorded_at"]
    return pd.concat([taken_up[columns], accepted[columns]], ignore_index=True)


def answers_within(
    source: Tables | Partitions, rows: pd.DataFrame, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows sales worked, and which it accepted, in `[as_of, as_of + horizon)`.

    `rows` has lead_id and as_of. What sales said comes after the score, so it is known only where
    the label is: it may stand beside a label, never among the features.
    """
    partitions = Partitions.of(source)
    work = pd.concat([_work(part, config) for part in partitions], ignore_index=True)
    accepted = pd.concat([acceptances(part.tables) for part in partitions], ignore_index=True)
    horizon_days = config.training.horizon_days
    return (
        worked_within(work, rows, horizon_days, "lead_id") > 0,
        worked_within(accepted, rows, horizon_days, "lead_id") > 0,
    )


def _work(part: Part, config: Config) -> pd.DataFrame:
    return work_of_sales(part.tables, part.account_components(config.population.account_from))
