"""The gate on data that broke after the champion was trained, and on a recalibrated champion."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from test_gate_judge import challenger, crm, settings, trained, verdict_on

from models.calibration import Calibration
from training.candidate import Candidate, Prepared
from training.fitting.fit import Fitted
from training.gate.gate import Verdict
from training.gate.sides import compared
from training.recipe import prepare
from training.retrain.recalibrated import FrozenFit
from training.steps import Steps


def with_share(prepared: Prepared, share: float = 0.6) -> Prepared:
    """So few wins leave more of the skill open than the default allows."""
    gate = prepared.config.gate.model_copy(update={"promise_share": share})
    return replace(prepared, config=prepared.config.model_copy(update={"gate": gate}))


@cache
def broken() -> tuple[Prepared, Candidate]:
    """The same CRM, the events of half of its leads joined to the wrong ones."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(crm(False), folder, dirs_exist_ok=True)
    path = folder / "engagement_events.parquet"
    events = pd.read_parquet(path)
    lead, random = events["lead_id"].dropna().unique(), np.random.default_rng(0)
    some = random.choice(lead, len(lead) // 2, replace=False)
    other = dict(zip(some, random.permutation(some), strict=True))
    events["lead_id"] = events["lead_id"].map(lambda one: other.get(one, one))
    events.to_parquet(path)
    prepared = prepare(settings(), folder, folder, Steps())
    return prepared, trained(prepared)


def test_a_challenger_of_broken_data_does_not_pass_by_being_compared_with_itself():
    champion = challenger()[1].scorer
    prepared, candidate = broken()
    found = verdict_on(champion, candidate, with_share(prepared))
    assert "their scores are the same" in found.why
    assert found.decision != "pass"
    prepared, candidate = challenger()
    sound = verdict_on(champion, candidate, with_share(prepared))
    assert "their scores are the same" in sound.why
    assert sound.decision == "pass"


def test_equal_scores_pass_only_by_what_the_champion_had_shown():
    prepared, candidate = challenger()
    facts = candidate.scorer.facts

    def verdict(share: float, facts: dict[str, Any]) -> Verdict:
        gate = prepared.config.gate.model_copy(update={"promise_share": share})
        config = prepared.config.model_copy(update={"gate": gate})
        champion = replace(candidate.scorer, facts=facts)
        return verdict_on(champion, candidate, replace(prepared, config=config))

    found = verdict(0.6, facts)
    assert found.decision == "pass"
    assert "Equal scores show nothing: what counts is" in found.why
    # the interval of few wins leaves much open
    assert verdict(0.01, facts).decision == "not_enough_evidence"
    without = {name: fact for name, fact in facts.items() if name not in ("skill", "replay")}
    assert verdict(0.6, without).decision == "not_enough_evidence"
    better = {**facts, "skill": {"value": 0.8, "low": 0.75, "high": 0.85}}
    found = verdict(0.6, better)
    assert found.decision == "refuse"
    assert found.lines()[-1] == ("Verdict: refuse: the challenger failed a check (promised_skill).")


def test_a_champion_a_month_older_is_asked_about_the_leads_that_came_since():
    prepared, candidate = challenger()
    examples, split = prepared.examples, prepared.split
    since = pd.Timestamp(examples.as_of[split.is_test].min()) + pd.Timedelta(days=30)
    facts = {
        **candidate.scorer.facts,
        "window": {"from": None, "until": f"{since - pd.Timedelta(days=1):%Y-%m-%d}"},
    }
    other = replace(candidate.scorer, facts=facts)
    found = compared(other, candidate, prepared)
    created = prepared.tables.leads.groupby("lead_id")["created_at"].min()
    came = examples.snapshots["lead_id"].map(created) >= since.normalize()
    rows = split.is_test & came.to_numpy()
    wins = len(set(examples.account[rows & (examples.won > 0)]))
    assert wins > 0
    if found.baseline == "champion":
        asked = found.rows
        assert "after the newest it learnt from" in found.why
    else:
        asked = found.own[0]
    assert len(asked.won) == rows.sum()
    assert asked.won_accounts() == wins
    np.testing.assert_array_equal(
        asked.champion, other.score(examples.snapshots[rows])["probability"]
    )


def test_a_recalibrated_champion_is_judged_where_its_trees_saw_nothing():
    prepared, candidate = challenger()
    champion, fitted = candidate.scorer, candidate.evaluation.fitted
    as_of = prepared.examples.as_of
    since = np.unique(as_of[prepared.split.is_test])[-2]
    own = {field.name: getattr(fitted, field.name) for field in fields(Fitted)}
    nobody = pd.Series(dtype=int)
    frozen = FrozenFit(**own, frozen=champion, calibrations=(Calibration.identity(),),
                       unseen_since=since, fold_by_lead=nobody,
                       fold_by_account=nobody)  # fmt: skip
    recalibrated = replace(
        candidate, kind="recalibrated", evaluation=replace(candidate.evaluation, fitted=frozen)
    )
    found = compared(champion, recalibrated, prepared)
    assert found.baseline == "champion"
    rows = prepared.split.is_test & (as_of >= since)
    assert len(found.rows.won) == rows.sum() < prepared.split.is_test.sum()
    wins = prepared.examples.account[rows & (prepared.examples.won > 0)]
    assert found.rows.won_accounts() == len(set(wins))
    assert "whose outcome its trees never saw" in found.why
