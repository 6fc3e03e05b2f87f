"""The weeks that are replayed: all leads of them, whatever was thinned, and all of their wins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config, small_tables

from training.evaluation import split_examples
from training.examples import Examples, examples_from_tables
from training.fitting.fit import choose, fit_model
from training.scored_weeks import _looked_at_once, weeks_of_past, weeks_of_test
from training.weekly import scored_examples, won_examples


def weeks_at_an_age(max_rows: int):
    """The past and the test weeks of leads looked at once, four weeks after their creation."""
    config = small_config(snapshots={"at": "age", "age_days": 28, "max_rows": max_rows})
    examples, tables = examples_from_tables(small_tables(), config), small_tables()
    split = split_examples(examples, config)
    fitted = fit_model(examples, split.is_fit, choose(examples, split.is_fit, config), config)
    weeks = [
        of(examples, tables, config, split, fitted, None) for of in (weeks_of_past, weeks_of_test)
    ]
    return examples, weeks


def test_thinned_examples_change_neither_volume_nor_win_rate_of_the_replay():
    everything, whole = weeks_at_an_age(300_000)
    thinned, same = weeks_at_an_age(700)
    assert len(thinned.won) < len(everything.won) and (thinned.weight > 1).any()
    for one, other in zip(whole, same, strict=True):
        # a lost lead at an end of the window may be thinned out, and the window with it
        assert len(other.scored) == pytest.approx(len(one.scored), rel=0.02)
        assert other.scored["won_in_horizon"].mean() == pytest.approx(
            one.scored["won_in_horizon"].mean(), rel=0.05
        )
        assert other.scored["lead_id"].is_unique


@pytest.mark.parametrize(("span_days", "weeks"), [(0, 1), (53, 8), (56, 9), (31.5, 5)])
def test_leads_looked_at_once_fill_all_weeks_and_keep_their_late_wins(span_days, weeks):
    n_leads = 80
    offsets = pd.to_timedelta(np.linspace(0, span_days, n_leads), unit="D")
    won = np.arange(n_leads) % 2 == 1
    snapshots = pd.DataFrame(
        {
            "lead_id": pd.array([f"l{number}" for number in range(n_leads)], dtype="str"),
            "account_id": pd.array([None] * n_leads, dtype="str"),
            "as_of": (pd.Timestamp("2025-01-06") + offsets).astype("datetime64[us]"),
            "is_eligible": True,
        }
    )
    examples = Examples(
        catalogue=None,  # nothing here asks for features
        snapshots=snapshots,
        won=won.astype(float),
        days_to_win=np.where(won, 60.0, np.nan),
        opportunity=np.where(won, snapshots["lead_id"], "").astype(str),
        weight=np.ones(n_leads),
        account=np.arange(n_leads),
        is_dated=True,
    )
    scored = scored_examples(examples, np.ones(n_leads, bool), np.full(n_leads, 0.5))
    replay = _looked_at_once(examples, scored, won_examples(examples), ()).replay()
    assert replay.weeks == weeks
    figures = replay.figures(0.4, 10, 0)
    assert figures["capture"].value == 1
    assert len(replay.wins) == won.sum()
    by_week = replay.by_week(0.4)
    assert by_week["mqls"].sum() == n_leads
    assert (by_week["mqls"] > 0).all()
