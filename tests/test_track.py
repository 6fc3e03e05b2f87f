"""The track of a lead: what to do with it next."""

import numpy as np
import pandas as pd
import pytest
from small_model import small_scorer, small_snapshots
from tables_builder import day, tables_of

from features.catalogue.catalogue import Catalogue, build_catalogue
from features.config import FeatureConfig
from features.snapshots import build_snapshots
from models.track import tracks
from serving.batch import score_leads


@pytest.fixture(scope="module")
def seen():
    """Five leads on day 50, by what they did in the 40 days before; the last has gone quiet."""
    did = {
        "reader": ["page_view"],
        "weigher": ["page_view", "case_study_view"],
        "decider": ["demo_request", "page_view"],
        "newcomer": [],
    }
    events = [
        {"lead_id": lead, "event_type": name, "occurred_at": 45}
        for lead, names in did.items()
        for name in names
    ]
    events.append({"lead_id": "sleeper", "event_type": "demo_request", "occurred_at": 1})
    leads = [{"lead_id": lead, "created_at": 0} for lead in [*did, "sleeper"]]
    tables = tables_of(leads=leads, engagement_events=events)
    config = FeatureConfig(windows_days=(40,))
    catalogue = build_catalogue(tables, config, tables.data_until)
    index = pd.DataFrame({"lead_id": sorted(row["lead_id"] for row in leads)}, dtype="str")
    index = index.assign(account_id=pd.array([None] * 5, dtype="str"), as_of=day(50))
    index["as_of"] = index["as_of"].astype("datetime64[us]")
    return build_snapshots(tables, catalogue, index.assign(is_eligible=True)), catalogue


def told(snapshots, qualified, catalogue):
    track = tracks(snapshots, np.array(qualified), catalogue)
    return dict(zip(snapshots["lead_id"], track, strict=True))


def test_a_lead_is_nurtured_in_the_stage_its_recent_activity_speaks_of(seen):
    snapshots, catalogue = seen
    assert told(snapshots, [False] * 5, catalogue) == {
        "reader": "nurture: awareness",
        "weigher": "nurture: consideration",
        "decider": "nurture: decision",
        "newcomer": "nurture: awareness",
        "sleeper": "nurture: awareness",
    }


def test_a_qualified_lead_is_handed_over_and_one_that_may_not_qualify_is_with_sales(seen):
    snapshots, catalogue = seen
    lead = snapshots["lead_id"]
    snapshots = snapshots.assign(is_eligible=lead != "decider")
    found = told(snapshots, lead == "weigher", catalogue)
    assert found["weigher"] == "hand over"
    assert found["decider"] == "with sales"
    assert found["reader"] == "nurture: awareness"


def test_the_name_of_the_stage_column_does_not_matter(seen):
    """A column of the user's may be called journey_stage; the feature then has another name."""
    snapshots, catalogue = seen
    renamed = snapshots.rename(columns={"journey_stage": "journey_stage_2"})
    renamed = renamed.assign(journey_stage=pd.array(["closed"] * 5, dtype="str"))
    entries = catalogue.to_dict()
    for entry in entries["features"]:
        if entry["name"] == "journey_stage":
            entry["name"] = "journey_stage_2"
    before = tracks(snapshots, np.zeros(5), catalogue)
    after = tracks(renamed, np.zeros(5), Catalogue.from_dict(entries))
    pd.testing.assert_series_equal(before, after)


def test_a_model_without_events_names_no_stage():
    snapshots = small_snapshots(20)
    track = tracks(snapshots, np.zeros(20, dtype=bool), small_scorer().catalogue)
    assert set(track) == {"nurture", "with sales"}
    assert ((track == "with sales") == ~snapshots["is_eligible"]).all()


def test_batch_scores_carry_the_track_and_hand_over_exactly_the_qualified(tmp_path):
    snapshots = small_snapshots(300, seed=8)
    score_leads(small_scorer(), snapshots, tmp_path / "scores.parquet")
    found = pd.read_parquet(tmp_path / "scores.parquet")
    assert found["qualified"].any()
    assert ((found["track"] == "hand over") == found["qualified"]).all()
    assert ((found["track"] == "with sales") == ~snapshots["is_eligible"]).all()
