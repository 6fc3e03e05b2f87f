"""Segment cutoffs: the mix keeps the promise, and the reason says who has which cutoff and why."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from replay_cases import drawn_replay

from features.config import CutoffConfig
from features.errors import InputError
from models.cutoff import Cutoff, cutoff_text
from training.cutoffs.cutoff import choose_cutoff
from training.replay import Replay, build_replay

TARGET = 0.22
PRECISION = CutoffConfig(policy="precision", target_precision=TARGET, segment_by="region")
CAPTURE = CutoffConfig(policy="capture", min_capture=0.6, segment_by="region")


def thinned(seed: int, accounts: int, left: dict[str, float], few: int = 0) -> Replay:
    """A past in which each region keeps this share of its wins, which no probability knows.

    `few`: so many of the first accounts are of the region "few" instead.
    """
    drawn = drawn_replay(np.random.default_rng(seed), accounts=accounts, segments=tuple(left))
    scored, random = drawn.scored, np.random.default_rng(seed + 10_000)
    region = scored["region"].where(scored["account"] >= few, "few")
    is_left = random.random(accounts)[scored["account"]] < region.map({"few": 0.0, **left})
    won = scored["won_in_horizon"].where(is_left, 0.0)
    kept = drawn.opportunities["lead_id"].isin(scored.loc[won > 0, "lead_id"])
    until = drawn.start + drawn.weeks * pd.Timedelta(days=7)
    return build_replay(
        scored.assign(won_in_horizon=won, region=region),
        drawn.opportunities[kept], drawn.start, until, first_week_is_backlog=False,
    )  # fmt: skip


def chosen(past: Replay, policy: CutoffConfig = PRECISION) -> Cutoff:
    return choose_cutoff(past, policy, bootstraps=2, seed=0)


def test_where_a_segment_fails_the_mix_still_reaches_the_precision():
    law = {"good": 1.0, "bad": 0.1}
    truth = thinned(99, 40_000, law)
    own = {name: truth.of((truth.scored["region"] == name).to_numpy()) for name in law}
    kept, apart = [], 0
    for seed in range(30):
        cutoff = chosen(thinned(seed, 900, law))
        if cutoff.qualifies_nobody:
            continue
        apart += bool(cutoff.segments)
        values = cutoff.values([*own])
        won = [p.mqls(at)["won_in_horizon"] for p, at in zip(own.values(), values, strict=True)]
        kept.append(np.concatenate(won).mean() >= TARGET)
    assert apart >= 22
    assert np.mean(kept) >= 0.9


def test_nobody_qualifies_in_a_segment_without_proof_and_the_reason_says_so():
    cutoff = chosen(thinned(1, 1500, {"good": 1.0, "bad": 0.1}, few=8))
    assert cutoff.segments["bad"] is None
    assert cutoff.segments["good"] < cutoff.value
    assert cutoff.values(["good", "bad"])[1] == np.inf
    assert "Nobody qualifies in bad: no cutoff is proven there." in cutoff.reason
    assert "too few MQLs of their own in few" in cutoff.reason
    kept = TypeAdapter(Cutoff)
    assert json.loads(kept.dump_json(cutoff))["segments"]["bad"] is None
    assert kept.validate_json(kept.dump_json(cutoff)) == cutoff
    assert "bad nobody" in cutoff_text(cutoff)


def test_without_a_pooled_cutoff_none_is_said_to_hold_for_others():
    past = thinned(1, 1500, {"good": 1.0, "bad": 0.02, "worse": 0.02}, few=4)
    cutoff = chosen(past, PRECISION.model_copy(update={"target_precision": 0.3}))
    assert (cutoff.value, cutoff.segments["bad"]) == (None, None)
    assert cutoff.segments["good"] is not None
    assert "Nobody else qualifies: too few MQLs of their own in few." in cutoff.reason
    assert "for all" not in cutoff.reason
    assert cutoff.values(["few", "new"]).tolist() == [np.inf, np.inf]


def test_more_segments_are_each_tested_more_strictly():
    two, eight = (
        chosen(replace(past, scored=past.scored.assign(region=region)))
        for past in [drawn_replay(np.random.default_rng(5), accounts=3000)]
        for region in (
            np.where(past.scored["account"] % 8 < 1, "a", "b"),
            np.where(past.scored["account"] % 8 < 1, "a", "b" + (past.scored["account"] % 7).astype(
                "str"
            )),
        )
    )  # fmt: skip
    assert len(two.segments) == 2 and len(eight.segments) == 8
    assert eight.segments["a"] > two.segments["a"]
    assert "each proven with 95.0% confidence" in two.reason
    assert "each proven with 98.8% confidence" in eight.reason


def test_small_segments_are_proven_together_or_nobody_of_them_qualifies():
    past = thinned(3, 600, {"good": 1.0, "bad": 0.05})
    account = past.scored["account"]
    many = past.scored["region"].where(
        past.scored["region"] == "good", "bad " + (account % 100).astype("str")
    )
    cutoff = chosen(replace(past, scored=past.scored.assign(region=many)))
    assert cutoff.segments["good"] is not None
    assert cutoff.value is None
    assert np.isinf(cutoff.values(many[many != "good"].unique())).all()
    assert "Nobody else qualifies: too few MQLs of their own" in cutoff.reason


def test_untested_leads_that_spoil_the_proof_of_the_whole_do_not_qualify():
    past = thinned(0, 120, {"good": 1.0}, few=7)
    policy = PRECISION.model_copy(update={"target_precision": 0.19})
    pooled = choose_cutoff(past, policy.model_copy(update={"segment_by": None}), 2, 0)
    cutoff = chosen(past, policy)
    assert pooled.value is not None and cutoff.segments["good"] < pooled.value
    assert cutoff.value is None
    assert "Nobody else qualifies: too few MQLs of their own in few." in cutoff.reason


def test_a_capture_that_one_segment_cannot_prove_keeps_the_pooled_cutoff_for_all():
    apart = chosen(thinned(5, 1500, {"north": 1.0, "south": 0.5}), CAPTURE)
    assert set(apart.segments) == {"north", "south"}
    strict = CAPTURE.model_copy(update={"min_capture": 0.97})
    scarce = thinned(5, 1500, {"north": 1.0, "south": 0.2})
    pooled = choose_cutoff(scarce, strict.model_copy(update={"segment_by": None}), 2, 0)
    cutoff = chosen(scarce, strict)
    assert cutoff.segments == {} and cutoff.value == pooled.value is not None
    assert "No value of region gets a cutoff of its own: not proven in south." in cutoff.reason
    assert f"{pooled.value:.1%} holds for all." in cutoff.reason


def test_where_no_segment_is_proven_the_proof_of_the_whole_holds():
    past = drawn_replay(np.random.default_rng(8), accounts=600, segments=tuple("abcdef"))
    policy = PRECISION.model_copy(update={"target_precision": 0.33})
    pooled = choose_cutoff(past, policy.model_copy(update={"segment_by": None}), 2, 0)
    cutoff = chosen(past, policy)
    assert pooled.value is not None
    assert (cutoff.value, cutoff.segments) == (pooled.value, {})
    assert cutoff.evidence == pooled.evidence
    assert "not proven in" in cutoff.reason


def test_capacities_of_unknown_segments_are_refused_with_the_known_ones():
    past = drawn_replay(np.random.default_rng(5))
    policy = CutoffConfig(
        mqls_per_week=10, segment_by="region", segment_mqls_per_week={"EMAE": 3, "north": 2}
    )
    with pytest.raises(InputError, match='names "EMAE", and no lead has') as raised:
        chosen(past, policy)
    assert 'Known: "north", "south"' in str(raised.value)


def test_nobody_qualifies_where_no_segment_has_a_cutoff():
    nobody = Cutoff("precision", {}, None, segment_by="region", segments={"EMEA": None})
    assert nobody.qualifies_nobody
    assert not replace(nobody, segments={"EMEA": None, "APAC": 0.2}).qualifies_nobody
    assert nobody.grades([0.9], 0.1, nobody.values(["EMEA"])).tolist() == ["C"]
