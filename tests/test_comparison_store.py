"""The evaluation's scored weeks kept for other rules, and the command that reads them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_comparison import drawn_weeks
from small_crm import small_config, small_evaluation, small_examples, small_tables

from features.errors import InputError
from features.parts.partitions import Partitions
from models.cutoff import Cutoff
from models.rules import RulesScorer
from models.rules_table import RulesTable
from training.comparison.against_rules import compare_with_rules
from training.comparison.comparison import compare_weeks
from training.comparison.examples import swap_examples
from training.comparison.record import comparison_lines, comparison_record, rules_digest
from training.comparison.store import (
    StoredWeeks,
    _with_points,
    read_weeks,
    require_leads,
    weekly_points,
    write_weeks,
)
from training.report.comparison_section import comparison_section
from training.report.pages import write_page

TABLE = {
    "mql_threshold": 20,
    "engagement": {
        "rules": [
            {"name": "Active", "feature": "any_count_30d", "at_least": 5, "points": 10},
            {"name": "Very active", "feature": "any_count_30d", "at_least": 10, "points": 10},
        ]
    },
}


def small_rules():
    return RulesScorer.of(RulesTable.model_validate(TABLE), small_examples().catalogue)


@pytest.fixture(scope="module")
def stored():
    evaluation = small_evaluation()
    return StoredWeeks(evaluation.past_weeks, evaluation.test_weeks, evaluation.cutoff)


@pytest.fixture(scope="module")
def with_points(stored):
    index = pd.concat([stored.past.scored, stored.test.scored])[["lead_id", "as_of"]]
    points = weekly_points(
        Partitions.of(small_tables()), small_examples().catalogue, index, small_rules()
    )
    weeks = (stored.past, stored.test)
    (past, gone), (test, gone_too) = (_with_points(w, points.points) for w in weeks)
    assert not gone and not gone_too
    return past, test


def test_what_is_written_is_read_again(stored, tmp_path):
    write_weeks(stored, tmp_path / "evaluation")
    found = read_weeks(tmp_path / "evaluation")
    assert found.cutoff == stored.cutoff
    for name in ("past", "test"):
        one, other = getattr(stored, name), getattr(found, name)
        pd.testing.assert_frame_equal(one.scored, other.scored)
        pd.testing.assert_frame_equal(one.wins, other.wins)
        assert replace(one, scored=None, wins=None) == replace(other, scored=None, wins=None)


def test_undated_weeks_and_cutoffs_by_segment_are_read_again(tmp_path):
    weeks = drawn_weeks(seed=1, is_dated=False)
    by_source = Cutoff("fixed", {}, 0.2, segment_by="source", segments={"web": 0.3})
    write_weeks(StoredWeeks(weeks, weeks, by_source), tmp_path)
    found = read_weeks(tmp_path)
    assert found.cutoff == by_source
    assert "points" not in found.test.scored
    pd.testing.assert_frame_equal(found.test.scored, weeks.scored.drop(columns="points"))


def test_points_of_other_rules_are_those_of_the_snapshots_of_the_evaluation(with_points):
    examples = small_examples()
    known = examples.snapshots.assign(expected=small_rules().points(examples.snapshots))
    for weeks in with_points:
        both = weeks.scored.merge(known[["lead_id", "as_of", "expected"]], on=["lead_id", "as_of"])
        assert len(both) > 100
        np.testing.assert_array_equal(both["points"], both["expected"])


def test_leads_no_longer_in_the_data_are_left_out_and_counted(stored):
    scored = stored.test.scored[["lead_id", "as_of"]]
    points = scored[scored["lead_id"] != scored["lead_id"][0]].assign(points=1.0)
    weeks, gone = _with_points(stored.test, points)
    assert gone == {scored["lead_id"][0]}
    assert set(weeks.scored["lead_id"]) == set(points["lead_id"])


def odd_rules():
    """One slip, one rule that many meet, one value that exists and one that does not."""
    source = small_tables().leads["source"].dropna().mode()[0]
    rules = [
        {"name": "Never", "feature": "any_count_30d", "at_least": 1e6, "points": 1},
        {"name": "Often", "feature": "any_count_30d", "at_least": 1, "points": 1},
        {"name": "Source", "feature": "source", "in": [source, "Sorcery"], "points": 1},
    ]
    table = RulesTable.model_validate({"mql_threshold": 1, "engagement": {"rules": rules}})
    return RulesScorer.of(table, small_examples().catalogue)


def test_notes_on_the_rules_are_those_of_all_parts_together(stored):
    rules, tables = odd_rules(), small_tables()
    snapshots = small_examples().snapshots
    expected = rules.notes(snapshots)
    assert len(expected) == 2 and "Never" in expected[0] and '"Sorcery"' in expected[1]
    has_source = (snapshots["source"] == rules.table.conditions[2].one_of[0]).to_numpy()
    parts = [snapshots[has_source], snapshots[~has_source]]
    assert rules.notes(parts[1]) != expected, "one part alone says more than is so"
    joined = pd.concat([rules.witnesses(part) for part in parts])
    assert len(joined) <= 8
    assert rules.notes(joined) == expected
    index = stored.test.scored[["lead_id", "as_of"]]
    found = weekly_points(Partitions.of(tables), small_examples().catalogue, index, rules)
    assert found.notes == expected


def test_notes_are_kept_and_shown_beside_the_verdict_and_in_the_lines(tmp_path):
    examples, evaluation = small_examples(), small_evaluation()
    index = pd.concat([w.scored for w in (evaluation.past_weeks, evaluation.test_weeks)])
    points = weekly_points(
        Partitions.of(small_tables()), examples.catalogue, index[["lead_id", "as_of"]], odd_rules()
    ).points
    past, test = (
        _with_points(w, points)[0] for w in (evaluation.past_weeks, evaluation.test_weeks)
    )
    against = compare_with_rules(
        odd_rules().table, odd_rules(), replace(evaluation, past_weeks=past, test_weeks=test),
        examples, Partitions.of(small_tables()), small_config(),
    )  # fmt: skip
    notes = odd_rules().notes(examples.snapshots[evaluation.split.is_fit])
    assert tuple(against.record["notes"]) == notes and len(notes) == 2
    assert f"Mind: {notes[0]}" in comparison_lines(against.record)
    content = {"comparison": comparison_section(against.comparison)}
    page = write_page("comparison_section.html.j2", content, tmp_path / "page.html")
    assert page.read_text(encoding="utf-8").count("Mind: Rule") == 2


def test_a_record_from_before_there_were_notes_is_still_told(comparison):
    record = comparison_record(comparison, "digest")
    lines = comparison_lines(record)
    del record["notes"]
    for pair in ("equal_volume", "as_set"):
        del record[pair]["is_equal"]
    assert comparison_lines(record) == lines


def test_data_of_other_leads_are_refused_and_say_how_many_are_there(stored, tmp_path):
    strangers = stored.test.scored[["lead_id", "as_of"]].assign(lead_id="stranger")
    catalogue = small_examples().catalogue
    found = weekly_points(Partitions.of(small_tables()), catalogue, strangers, small_rules())
    assert found.points.empty and found.notes == ()
    for there in (0, 4):
        with pytest.raises(InputError, match=rf"hold {there} of the 10 leads .* --data"):
            require_leads(there, 10, tmp_path, "3")
    require_leads(5, 10, tmp_path, "3")


def test_the_digest_is_of_what_the_rules_say_not_of_how():
    same = RulesTable.model_validate(json.loads(json.dumps(TABLE)))
    assert rules_digest(same) == rules_digest(small_rules().table)
    other = RulesTable.model_validate({**TABLE, "mql_threshold": 10})
    assert rules_digest(other) != rules_digest(same)


@pytest.fixture(scope="module")
def comparison(with_points):
    past, test = with_points
    cutoff = small_evaluation().cutoff
    return compare_weeks(past, test, cutoff, small_rules().threshold, small_config())


def test_swapped_leads_are_told_by_id_with_the_reasons_of_both(comparison):
    told = swap_examples(
        comparison.swaps, small_evaluation(), small_examples(), small_tables(), small_rules(), 91
    )
    assert {example.by for example in told} == {"model", "rules"}
    by_id = comparison.swaps.leads.set_index(["lead_id", "by"])
    for example in told:
        assert example.probability == by_id.loc[(example.lead_id, example.by), "probability"]
        assert 1 <= len(example.model_reasons) <= 3
        if example.by == "rules":
            assert example.points >= 20
            assert any("Active" in reason for reason in example.rules_reasons)


@pytest.mark.parametrize("kind", ["dated", "undated", "silent", "no rules"])
def test_the_section_is_written_for_whatever_there_is(kind, comparison, tmp_path):
    weeks = drawn_weeks(seed=1, is_dated=kind != "undated")
    threshold = 1e6 if kind == "silent" else 40.0
    config = small_config()
    if kind == "dated":
        shown = comparison
    else:
        shown = compare_weeks(weeks, weeks, Cutoff("fixed", {}, 0.2), threshold, config)
    content = comparison_section(None if kind == "no rules" else shown)
    page = write_page("comparison_section.html.j2", {"comparison": content}, tmp_path / "page.html")
    html = page.read_text(encoding="utf-8")
    assert "Model against rules" in html
    assert ("<svg" in html) == (kind != "no rules")
    assert "nan" not in html.lower().replace("finance", "").replace("tenant", "")
    json.dumps(comparison_record(shown, "digest"), allow_nan=False)
