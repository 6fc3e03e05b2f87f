"""Who closes, and readable segments."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from small_crm import small_evaluation, small_examples

from features.catalogue.catalogue import Catalogue, Feature
from training.examples import Examples
from training.funnel.conditions import Condition, readable
from training.funnel.personas import LEAST_WINS, personas_of
from training.funnel.segment_tree import DEPTH, answers, segments_of

VIEWS = Feature(
    "view_count_30d", "engagement", "view", "count", "events.view", 30,
    wording="Viewed prices {value} times in the last 30 days",
    zero_wording="No price view in the last 30 days",
)  # fmt: skip
LAST_VIEW = Feature(
    "view_days_since_last", "engagement", "view", "days_since_last", "events.view",
    wording="Last price view {value} days ago", missing_wording="No price view so far",
)  # fmt: skip
TITLE = Feature("title", "fit", "leads.title", "attribute", "leads.title", dtype="category",
                wording="Title: {value}", missing_wording="Title is not known")  # fmt: skip
FADED = Feature("view_decayed_7d", "engagement", "view", "decayed_count", half_life_days=7)


def snapshots_of(**columns):
    rows = len(next(iter(columns.values())))
    index = {
        "lead_id": pd.array([f"l{n}" for n in range(rows)], dtype="str"),
        "account_id": pd.array([None] * rows, dtype="str"),
        "as_of": pd.Series([pd.Timestamp("2025-01-06")] * rows).astype("datetime64[us]"),
        "is_eligible": True,
    }
    return pd.DataFrame({**index, **columns})


def examples_of(catalogue, snapshots, won, account=None, weight=None):
    rows = len(snapshots)
    return Examples(
        catalogue=catalogue,
        snapshots=snapshots,
        won=np.asarray(won, float),
        days_to_win=np.full(rows, np.nan),
        opportunity=np.full(rows, ""),
        weight=np.ones(rows) if weight is None else weight,
        account=np.arange(rows) if account is None else account,
        is_dated=True,
    )


def titled(rows, seed, times, base=0.05):
    """Leads of four titles, of which "VP" wins `times` as often; a number that says nothing."""
    generator = np.random.default_rng(seed)
    title = generator.choice(["VP", "Clerk", "Buyer", "Chef"], rows, p=[0.1, 0.3, 0.3, 0.3])
    won = generator.random(rows) < np.where(title == "VP", base * times, base)
    snapshots = snapshots_of(
        title=pd.array(title, dtype="str"), view_count_30d=generator.poisson(2, rows)
    )
    return examples_of(Catalogue((TITLE, VIEWS)), snapshots, won)


def test_a_trait_is_told_with_how_much_more_often_and_for_how_many():
    found = personas_of(titled(8000, seed=1, times=4.0))
    (trait,) = found.are
    assert found.did == ()
    assert trait.text == "Title: VP"
    assert trait.times.low < 4.0 < trait.times.high
    assert trait.times.value == pytest.approx(trait.rate / trait.rate_of_rest)
    assert "times as often as the rest" in trait.sentence()
    assert trait.won_leads / trait.leads == pytest.approx(trait.rate)
    assert not found.is_repeated


def test_a_trait_that_closes_less_often_is_told_so():
    (trait,) = personas_of(titled(8000, seed=1, times=0.2, base=0.1)).are
    assert trait.times.high < 1
    assert "times less often than the rest" in trait.sentence()


def test_noise_brings_no_traits():
    """All tried traits at once are held to 90%: of 40 data sets few may tell anything."""
    told = [personas_of(titled(1500, seed, times=1.0, base=0.1)) for seed in range(40)]
    assert min(each.looked_at for each in told) >= 8
    assert sum(bool(each.are or each.did) for each in told) <= 7


def test_leads_that_never_close_are_told_without_a_made_up_ratio():
    generator = np.random.default_rng(0)
    views = np.repeat([0, 3], 2000)
    won = (generator.random(4000) < 0.1) & (views > 0)
    snapshots = snapshots_of(view_count_30d=views)
    (trait,) = personas_of(examples_of(Catalogue((VIEWS,)), snapshots, won)).did
    assert (trait.text, trait.rate) == ("No price view in the last 30 days", 0.0)
    assert trait.sentence().startswith("No price view in the last 30 days: never closed, the rest")
    assert trait.times.high < 1


def test_a_handful_of_wins_is_no_persona():
    """Nine winners that all have a title nobody else has."""
    title = np.where(np.arange(3000) < LEAST_WINS - 1, "Star", "Clerk")
    won = (np.arange(3000) < LEAST_WINS - 1) | (np.arange(3000) % 20 == 0)
    examples = examples_of(
        Catalogue((TITLE,)), snapshots_of(title=pd.array(title, dtype="str")), won
    )
    assert personas_of(examples).are == ()


def test_one_large_account_that_wins_together_is_no_persona():
    """60 leads of one account have a title of their own and won: one piece of luck, not sixty."""
    title = np.where(np.arange(3000) < 60, "Nurse", "Clerk")
    won = (np.arange(3000) < 60) | (np.arange(3000) % 20 == 0)
    snapshots = snapshots_of(title=pd.array(title, dtype="str"))
    apart = examples_of(Catalogue((TITLE,)), snapshots, won)
    assert [trait.text for trait in personas_of(apart).are] == ["Title: Nurse"]
    spread = np.where(np.arange(3000) < 60, np.arange(3000) % 2, np.arange(3000))
    half_won = won & ((np.arange(3000) >= 60) | (np.arange(3000) % 2 == 0))
    assert personas_of(examples_of(Catalogue((TITLE,)), snapshots, half_won, spread)).are == ()


def test_a_second_copy_of_each_lead_in_its_account_is_no_new_evidence():
    """Nor is a weight of two: the intervals stay, while as many strangers more narrow them."""
    once = titled(6000, seed=2, times=4.0)
    twice = pd.concat(
        [once.snapshots, once.snapshots.assign(lead_id=once.snapshots["lead_id"] + "x")]
    )
    rows = twice.reset_index(drop=True), np.tile(once.won, 2)
    copies = examples_of(once.catalogue, *rows, account=np.tile(np.arange(6000), 2))
    strangers = examples_of(once.catalogue, *rows)
    heavy = replace(once, weight=np.full(6000, 2.0))
    (alone,), (copied,), (weighty,), (more,) = (
        personas_of(each).are for each in (once, copies, heavy, strangers)
    )
    for same in (copied, weighty):
        assert same.times.low == pytest.approx(alone.times.low)
        assert same.times.high == pytest.approx(alone.times.high)
    assert more.times.low > alone.times.low + 0.1


def test_thinned_rows_stand_for_those_left_out():
    full = titled(8000, seed=3, times=4.0)
    kept = (full.won > 0) | (np.arange(8000) % 4 == 0)
    thin = examples_of(
        full.catalogue,
        full.snapshots[kept].reset_index(drop=True),
        full.won[kept],
        weight=np.where(full.won[kept] > 0, 1.0, 4.0),
    )
    (of_all,), (of_thin,) = personas_of(full).are, personas_of(thin).are
    assert of_thin.rate_of_rest == pytest.approx(of_all.rate_of_rest, rel=0.1)
    assert of_thin.times.value == pytest.approx(of_all.times.value, rel=0.2)


def test_leads_that_may_not_become_an_mql_are_left_out():
    examples = titled(8000, seed=1, times=4.0)
    is_vp = (examples.snapshots["title"] == "VP").to_numpy()
    changed = replace(examples, snapshots=examples.snapshots.assign(is_eligible=~is_vp))
    assert personas_of(changed).are == ()
    assert personas_of(changed).leads == (~is_vp).sum()


def test_decayed_counts_and_trends_are_not_readable():
    assert readable(Catalogue((VIEWS, FADED, TITLE))) == [VIEWS, TITLE]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition(VIEWS, low=1.5), "Viewed prices 2 or more times in the last 30 days"),
        (Condition(VIEWS, high=1.0), "Viewed prices at most once in the last 30 days"),
        (Condition(VIEWS, low=1.0, high=4.0), "Viewed prices 2 to 4 times in the last 30 days"),
        (Condition(VIEWS, low=1.0, high=2.0), "Viewed prices 2 times in the last 30 days"),
        (Condition(LAST_VIEW, high=7.04), "Last price view at most 7 days ago"),
        (
            Condition(LAST_VIEW, low=19.6, or_missing=True),
            "Last price view more than 20 days ago (or: no price view so far)",
        ),
        (Condition.missing(LAST_VIEW), "No price view so far"),
        (Condition(LAST_VIEW), "Not: no price view so far"),
        (Condition(TITLE, value="VP"), "Title: VP"),
        (Condition(TITLE, value="VP", is_value=False), "Title: not VP"),
    ],
)
def test_conditions_in_words(condition, words):
    assert condition.words() == words


def test_a_condition_holds_for_the_rows_its_words_speak_of():
    rows = snapshots_of(
        title=pd.array(["VP", "Clerk", None], dtype="str"),
        view_count_30d=[0.0, 2.0, 5.0],
        view_days_since_last=[np.nan, 3.0, 30.0],
    )

    def held(condition):
        return condition.holds(rows).tolist()

    assert held(Condition(VIEWS, low=1.5)) == [False, True, True]
    assert held(Condition(VIEWS, high=2.0)) == [True, True, False]
    assert held(Condition(LAST_VIEW, low=20.0)) == [False, False, True]
    assert held(Condition(LAST_VIEW, low=20.0, or_missing=True)) == [True, False, True]
    assert held(Condition.missing(LAST_VIEW)) == [True, False, False]
    assert held(Condition(LAST_VIEW)) == [False, True, True]
    assert held(Condition(TITLE, value="VP")) == [True, False, False]
    assert held(Condition(TITLE, value="VP", is_value=False)) == [False, True, True]


@pytest.mark.parametrize(
    ("asked", "threshold", "missing_left"),
    [
        (Condition(VIEWS), 1.5, True),
        (Condition(LAST_VIEW), 17.26, True),  # told rounded, and so split there
        (Condition(LAST_VIEW), 17.26, False),
        (Condition(LAST_VIEW), np.inf, False),  # the tree's way to part what is missing
        (Condition(TITLE, value="VP"), 0.5, False),
    ],
)
def test_of_the_two_answers_of_a_split_one_holds_for_every_row(asked, threshold, missing_left):
    generator = np.random.default_rng(0)
    rows = snapshots_of(
        title=pd.array(np.resize(["VP", "Clerk", None], 300), dtype="str"),
        view_count_30d=generator.poisson(2, 300).astype(float),
        view_days_since_last=np.where(generator.random(300) < 0.3, np.nan, np.arange(300) / 10),
    )
    has_missing = bool(rows[asked.feature.name].isna().any())
    below, above = answers(asked, threshold, missing_left, has_missing)
    assert (below.holds(rows) ^ above.holds(rows)).all()
    assert below.holds(rows).any() and above.holds(rows).any()


@cache
def segments():
    return segments_of(small_examples(), small_evaluation())


def test_every_test_row_that_may_become_an_mql_is_in_exactly_one_segment():
    test = small_evaluation().test
    shown = test[test["is_eligible"]]
    assert 1 < len(segments()) <= 2**DEPTH
    assert sum(segment.rows for segment in segments()) == len(shown)
    assert sum(segment.share for segment in segments()) == pytest.approx(1)
    assert sum(segment.share_of_wins for segment in segments()) == pytest.approx(1)
    scored = sum(segment.share * segment.mean_score for segment in segments() if segment.rows)
    assert scored == pytest.approx(np.average(shown["probability"], weights=shown["weight"]))


def test_segments_with_higher_scores_come_first_and_win_more():
    scores = [segment.mean_score for segment in segments()]
    assert scores == sorted(scores, reverse=True)
    best, worst = segments()[0].win_rate, segments()[-1].win_rate
    assert best.low > worst.high


def test_the_rules_know_nothing_of_the_test_rows():
    evaluation, examples = small_evaluation(), small_examples()
    turned = replace(evaluation, test=evaluation.test.assign(won=1.0, probability=0.5))
    is_test = evaluation.split.is_test
    shuffled = examples.snapshots.copy()
    order = np.random.default_rng(0).permutation(is_test.sum())
    for name in examples.catalogue.names:
        column = shuffled[name].to_numpy(copy=True)
        column[is_test] = column[is_test][order]
        shuffled[name] = pd.array(column, dtype=shuffled[name].dtype)
    changed = segments_of(replace(examples, snapshots=shuffled), turned)
    assert {each.rule for each in changed} == {each.rule for each in segments()}
