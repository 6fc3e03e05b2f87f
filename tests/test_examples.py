"""Which rows are learnt from, and with which label and weight."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config, small_examples, small_tables

from features.errors import InputError
from features.loading.flat import load_flat
from training.evaluation import split_examples
from training.examples import examples_from_flat, examples_from_tables
from training.part_examples import is_drawn, lost_share

DAY = pd.Timedelta(days=1)
HORIZON = 91 * DAY


def assert_same(first, second):
    pd.testing.assert_frame_equal(first.snapshots, second.snapshots)
    for name in ("won", "days_to_win", "weight", "account"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def with_wins(tables, leads, closed_at):
    """The tables with a deal won by each of `leads`, opened two days before."""
    deals = pd.DataFrame(
        {
            "opportunity_id": [f"extra-{n}" for n in range(len(leads))],
            "lead_id": leads,
            "created_at": closed_at - 2 * DAY,
            "stage": "closed_won",
            "closed_at": closed_at,
            "recorded_at": closed_at,
            "created_recorded_at": closed_at - 2 * DAY,
            "closed_recorded_at": closed_at,
        }
    ).reindex(columns=tables.opportunities.columns)
    deals = deals.astype(tables.opportunities.dtypes.to_dict())
    return replace(tables, opportunities=pd.concat([tables.opportunities, deals]))


@pytest.mark.parametrize("at", ["weeks", "age"])
def test_every_row_is_matured_and_carries_a_label(at):
    config = small_config(snapshots={"at": at})
    examples = examples_from_tables(small_tables(), config)
    assert (examples.snapshots["as_of"] + HORIZON <= small_tables().data_until).all()
    assert set(examples.won) == {0.0, 1.0}
    assert (examples.days_to_win[examples.won > 0] < 91).all()
    assert np.isnan(examples.days_to_win[examples.won == 0]).all()


def test_early_wins_of_leads_too_young_to_be_matured_change_no_row():
    """Each lead of the last horizon wins within days: none of it may be learnt from."""
    tables = small_tables()
    created = tables.leads.groupby("lead_id")["created_at"].min()
    merges = tables.leads[tables.leads["merged_into"].notna()]
    # merged leads are one person, and the other one may be older
    merged = [*merges["lead_id"], *merges["merged_into"]]
    young = created.index[created > tables.data_until - HORIZON].difference(merged)
    assert len(young) > 50
    before = small_examples()
    after = examples_from_tables(
        with_wins(tables, list(young), tables.data_until - DAY), small_config()
    )
    assert_same(before, after)


def test_a_win_inside_the_horizon_of_a_matured_row_changes_its_label_and_only_its():
    tables, before = small_tables(), small_examples()
    newest = before.as_of.max()
    lost = before.snapshots[(before.as_of == newest) & (before.won == 0)]
    lead = lost["lead_id"].iloc[0]
    win = pd.Timestamp(newest) + 90 * DAY
    after = examples_from_tables(with_wins(tables, [lead], win), small_config())
    changed = before.snapshots[before.won != after.won]
    assert changed["lead_id"].tolist() == [lead]
    assert changed["as_of"].tolist() == [newest]


def test_the_order_of_the_tables_rows_changes_no_example():
    tables = small_tables()
    shuffled = {
        name: getattr(tables, name).sample(frac=1, random_state=5).reset_index(drop=True)
        for name in ("engagement_events", "opportunities", "opportunity_leads", "stage_changes")
    }
    assert_same(small_examples(), examples_from_tables(replace(tables, **shuffled), small_config()))


def test_a_history_shorter_than_the_horizon_is_refused_with_its_end():
    tables = small_tables()
    first = tables.leads["created_at"].min()
    with pytest.raises(InputError, match="No lead has been known for a whole horizon of 91 days"):
        examples_from_tables(replace(tables, data_until=first + 60 * DAY), small_config())


def test_too_few_wins_are_refused_with_the_count_still_needed():
    examples = small_examples()
    config = small_config(training={"min_wins": 100_000})
    with pytest.raises(InputError, match=r"(\d+) won leads in the fit rows; 100000 are") as refused:
        split_examples(examples, config)
    have = int(str(refused.value).split()[0])
    assert f"so {100_000 - have} more" in str(refused.value)
    fit = split_examples(examples, small_config()).is_fit
    assert have == examples.snapshots["lead_id"][fit & (examples.won > 0)].nunique()


def test_a_test_part_without_a_win_is_refused():
    examples = small_examples()
    rows = split_examples(examples, small_config()).is_test
    barren = replace(examples, won=np.where(rows, 0.0, examples.won))
    with pytest.raises(InputError, match="one class only"):
        split_examples(barren, small_config())


def test_leads_that_all_are_mqls_already_are_refused_since_no_cutoff_can_be_chosen():
    examples = small_examples()
    nobody = replace(examples, snapshots=examples.snapshots.assign(is_eligible=False))
    with pytest.raises(InputError, match="may become an MQL"):
        split_examples(nobody, small_config())


def labelled_rows(rows=20_000, rate=0.02):
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "lead_id": pd.array([f"lead {n}" for n in range(rows)], dtype="str"),
            "as_of": np.datetime64("2025-01-06", "us"),
            "won": random.random(rows) < rate,
        }
    )


def thin(labelled, max_rows, seed):
    """The rows that are kept, and what a lost one of them weighs."""
    wins, lost = labelled["won"].sum(), (~labelled["won"]).sum()
    is_kept = labelled["won"] | is_drawn(labelled, lost_share(wins, lost, max_rows), seed)
    return labelled[is_kept], lost / (is_kept & ~labelled["won"]).sum()


def test_thinning_keeps_every_win_and_its_weights_restore_the_base_rate():
    labelled = labelled_rows()
    kept, weight = thin(labelled, max_rows=5_000, seed=0)
    wins = labelled["won"].sum()
    assert kept["won"].sum() == wins
    assert len(kept) == pytest.approx(5_000, rel=0.05)
    lost = len(kept) - wins
    assert wins / (wins + weight * lost) == pytest.approx(wins / len(labelled))
    again, _ = thin(labelled, max_rows=5_000, seed=0)
    other, _ = thin(labelled, max_rows=5_000, seed=1)
    assert kept.index.equals(again.index)
    assert not kept.index.equals(other.index)


def test_whether_a_row_is_thinned_out_depends_on_no_other_row():
    labelled = labelled_rows()
    some = labelled[::3].sample(frac=1, random_state=2)
    drawn = pd.Series(is_drawn(labelled, 0.3, seed=4), index=labelled.index)
    np.testing.assert_array_equal(is_drawn(some, 0.3, seed=4), drawn[some.index])
    later = labelled.assign(as_of=labelled["as_of"] + 7 * DAY)
    both = drawn & is_drawn(later, 0.3, seed=4)
    assert both.mean() == pytest.approx(0.09, abs=0.01)  # each week is drawn anew


def test_nothing_is_thinned_where_there_is_room():
    kept, weight = thin(labelled_rows(), max_rows=20_000, seed=0)
    assert (len(kept), weight) == (20_000, 1.0)


def test_as_many_lost_rows_as_wins_stay_where_there_is_not_even_room_for_the_wins():
    labelled = labelled_rows()
    kept, weight = thin(labelled, max_rows=100, seed=0)
    wins = labelled["won"].sum()
    lost = len(kept) - wins
    assert kept["won"].sum() == wins
    assert lost == pytest.approx(wins, rel=0.2)
    assert weight * lost == pytest.approx(len(labelled) - wins)


def test_thinned_examples_weigh_what_they_stand_for():
    thinned = examples_from_tables(small_tables(), small_config(snapshots={"max_rows": 1_500}))
    full = small_examples()
    assert len(thinned.won) < 0.6 * len(full.won)
    assert thinned.won.sum() == full.won.sum()
    assert (thinned.weight[thinned.won > 0] == 1).all()
    assert thinned.weight.sum() == pytest.approx(len(full.won))


FLAT = """person,firm,seen,visits,won_on
p1,F,2025-01-01,3,2025-01-01
p2,F,2025-01-02,1,2025-04-02
p3,,2025-01-03,2,2025-04-04
p4,,2025-01-04,0,
p5,,2025-06-01,5,2025-06-02
"""


def flat_config(**flat):
    own = {"path": "flat.csv", "lead_id": "person", "account_id": "firm", **flat}
    return small_config(flat=own, data={"data_until": "2025-07-01", "max_rejected_share": 1})


def test_instants_of_wins_label_the_matured_rows_of_a_flat_export(tmp_path: Path):
    (tmp_path / "flat.csv").write_text(FLAT)
    config = flat_config(as_of="seen", won_at="won_on")
    examples = examples_from_flat(load_flat(config, tmp_path), config)
    found = dict(zip(examples.snapshots["lead_id"], examples.won, strict=True))
    assert found == {
        "p1": 1.0,  # won on the day itself
        "p2": 1.0,  # day 90
        "p3": 0.0,  # day 91: the horizon is half-open
        "p4": 0.0,
    }  # p5 is not matured: its early win is left out
    assert examples.account[0] == examples.account[1] != examples.account[2]
    assert examples.catalogue.names == ["visits"]


def test_a_label_with_dates_counts_only_rows_whose_label_was_known(tmp_path: Path):
    text = FLAT.replace("won_on", "won").replace(",\n", ",no\n")
    for won in ("2025-01-01", "2025-04-02", "2025-04-04", "2025-06-02"):
        text = text.replace(f"{won}\n", "yes\n")
    (tmp_path / "flat.csv").write_text(text)
    dated = flat_config(as_of="seen", label="won", labels_known_until="2025-07-01")
    examples = examples_from_flat(load_flat(dated, tmp_path), dated)
    assert examples.snapshots["lead_id"].tolist() == ["p1", "p2", "p3", "p4"]
    assert examples.won.tolist() == [1, 1, 1, 0]
    undated = flat_config(label="won", drop=["seen"])
    examples = examples_from_flat(load_flat(undated, tmp_path), undated)
    assert len(examples.won) == 5
    assert not examples.is_dated


def test_a_flat_export_of_young_rows_only_is_refused(tmp_path: Path):
    (tmp_path / "flat.csv").write_text(FLAT)
    config = flat_config(as_of="seen", won_at="won_on")
    early = config.model_copy(
        update={"data": config.data.model_copy(update={"data_until": pd.Timestamp("2025-02-01")})}
    )
    with pytest.raises(InputError, match="No row is older than the horizon of 91 days"):
        examples_from_flat(load_flat(early, tmp_path), early)
