"""What the catalogue holds, how it is told, and how it is stored."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
from tables_builder import day, tables_of

from features.catalogue.catalogue import (
    Catalogue,
    build_catalogue,
    flat_catalogue,
    unknown_event_types,
)
from features.catalogue.feature import ENGINEERED
from features.config import FeatureConfig, PopulationConfig
from features.errors import InputError
from features.fit.fit_columns import FIT_AGGREGATIONS
from features.tables import Tables


def tables():
    return tables_of(
        leads=[
            {"lead_id": "a", "created_at": 0, "account_id": "X", "source": "web", "seats": 2.0},
            {"lead_id": "b", "created_at": 50, "later": "only known later", "empty": None},
        ],
        accounts=[{"account_id": "X", "industry": "retail"}],
        engagement_events=[
            {"lead_id": "a", "event_type": kind, "occurred_at": at, "value": value}
            for kind, at, value in [
                ("pricing_view", 1, None),
                ("pricing_view", 2, None),
                ("Pricing View", 3, None),
                ("Pricing View", 3, None),
                ("order", 4, 9.5),
                ("too late", 50, None),
            ]
        ],
        opportunities=[
            {"opportunity_id": "o", "stage": "open", "created_at": 5, "account_id": "X"}
        ],
        stage_changes=[{"lead_id": "a", "stage": "mql", "changed_at": 6}],
        current_state=["accounts"],
    )


@pytest.fixture
def catalogue() -> Catalogue:
    return build_catalogue(tables(), FeatureConfig(max_event_types=2), day(50))


def test_names_are_unique_and_streams_keep_the_type_as_written(catalogue) -> None:
    assert len(set(catalogue.names)) == len(catalogue.names)
    named = {feature.name: feature for feature in catalogue.features}
    assert named["pricing_view_count_30d"].stream == "events.Pricing View"
    assert named["pricing_view_2_count_30d"].stream == "events.pricing_view"


def test_two_event_types_with_one_slug_are_two_concepts(catalogue) -> None:
    streams = {
        (f.stream, f.concept) for f in catalogue.features if f.concept.startswith("pricing_view")
    }
    assert len({concept for _, concept in streams}) == len(streams) == 2


def test_rare_types_are_counted_as_other(catalogue) -> None:
    assert "other_count_7d" in catalogue.names
    assert "order_count_7d" not in catalogue.names


def test_what_is_first_known_later_is_in_no_catalogue(catalogue) -> None:
    assert not any("late" in name for name in catalogue.names)
    assert "empty" not in catalogue.names
    assert "too_late_count_7d" in build_catalogue(tables(), FeatureConfig(), day(51)).names


def test_every_feature_has_wordings_that_can_be_filled(catalogue) -> None:
    for feature in catalogue.features:
        assert feature.wording.format(value=3), feature
        assert "{value}" in feature.wording, feature
        for wording in (feature.one_wording, feature.zero_wording, feature.missing_wording):
            assert "{" not in wording
        if feature.family == "account":
            assert feature.missing_wording
    named = {feature.name: feature for feature in catalogue.features}
    views = named["pricing_view_count_30d"]
    assert views.wording.format(value=4) == "Viewed the pricing page 4 times in the last 30 days"
    assert views.zero_wording == "No pricing page view in the last 30 days"
    assert named["account_industry"].missing_wording == "Account industry is not known"


def test_the_current_stage_is_no_feature(catalogue) -> None:
    assert not {"stage", "current_stage"} & set(catalogue.names)
    assert "days_since_stage_change" in catalogue.names


def test_undated_attributes_are_listed(catalogue) -> None:
    assert catalogue.undated == ("accounts.industry",)


def asked_for(*event_types: str) -> Tables:
    events = [
        {"lead_id": "a", "event_type": kind, "occurred_at": at}
        for at, kind in enumerate(event_types)
    ]
    return tables_of(
        leads=[{"lead_id": "a", "created_at": 0, "account_id": "X"}], engagement_events=events
    )


def members(catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    return {group.stream: group.event_types for group in catalogue.groups}


def test_explicit_interest_and_the_journey_are_found_by_name() -> None:
    types = ("page_view", "Demo Request", "pricing_view", "case_study_view", "email_bounce")
    catalogue = build_catalogue(asked_for(*types), FeatureConfig(), day(50))
    assert members(catalogue) == {
        "groups.explicit_interest": ("Demo Request", "pricing_view"),
        "journey.decision": ("Demo Request",),
        "journey.consideration": ("case_study_view", "pricing_view"),
        "journey.ignored": ("email_bounce",),
    }
    named = {feature.name: feature for feature in catalogue.features}
    interest = named["explicit_interest_count_30d"]
    assert (
        interest.wording.format(value=3) == "Showed explicit interest 3 times in the last 30 days"
    )
    assert "colleagues_explicit_interest_count_7d" in named
    assert "days_since_colleague_explicit_interest" in named


GROUPED = [
    # settings, groups expected beside the journey, why
    ({"groups": {"explicit_interest": ("chat",)}}, {"explicit_interest": ("chat",)}, "as set"),
    ({"groups": {"explicit_interest": ()}}, {}, "an empty list leaves it out"),
    (
        {"groups": {"support": ("chat", "demo")}},
        {"explicit_interest": ("demo",), "support": ("chat", "demo")},
        "a type may be in several groups",
    ),
]


@pytest.mark.parametrize(("settings", "expected", "why"), GROUPED)
def test_groups_can_be_set(settings, expected, why) -> None:
    catalogue = build_catalogue(asked_for("chat", "demo"), FeatureConfig(**settings), day(50))
    found = {name: types for name, types in members(catalogue).items() if "groups" in name}
    assert found == {f"groups.{name}": types for name, types in expected.items()}, why


def test_a_group_of_one_type_is_no_second_copy_of_its_stream() -> None:
    names = build_catalogue(asked_for("chat", "demo"), FeatureConfig(), day(50)).names
    assert not any("explicit_interest" in name for name in names)


def test_a_stage_that_is_set_holds_what_is_listed_only() -> None:
    config = FeatureConfig(journey={"decision": ("chat",)})
    catalogue = build_catalogue(asked_for("chat", "demo", "webinar"), config, day(50))
    expected = {"journey.decision": ("chat",), "journey.consideration": ("webinar",)}
    assert {name: types for name, types in members(catalogue).items() if "journey" in name} == (
        expected
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"groups": {"explicit_interest": ("demo", "dmeo")}},
        {"journey": {"decision": ("dmeo",)}},
        {"known_at_creation": ("dmeo",)},
        {"drop": ("dmeo",)},
        {"job_title": "dmeo"},
    ],
)
def test_a_setting_that_names_nothing_known_is_refused(settings) -> None:
    with pytest.raises(InputError, match="dmeo"):
        build_catalogue(asked_for("demo"), FeatureConfig(**settings), day(50))


def test_types_first_seen_later_are_unknown_and_rare_ones_are_not() -> None:
    config = FeatureConfig(max_event_types=1)
    catalogue = build_catalogue(asked_for("call", "call", "chat"), config, day(50))
    assert catalogue.other_types == ("chat",)
    assert unknown_event_types(["call", "chat", "fax", "fax"], catalogue) == ["fax"]


def test_wins_of_the_account_are_features_where_customers_are_scored() -> None:
    def names(customers: str) -> list[str]:
        population = PopulationConfig(customers=customers)
        return build_catalogue(tables(), FeatureConfig(), day(50), population).names

    assert "account_won_opportunities" in names("include")
    assert "account_won_opportunities" not in names("exclude")


def test_engineered_fit_is_in_the_catalogue() -> None:
    lead = {"lead_id": "a", "created_at": 0, "job_title": "VP Sales", "email_hash": "f00"}
    names = build_catalogue(tables_of(leads=[lead]), FeatureConfig(), day(50)).names
    assert {"job_title", "job_seniority", "job_department"} <= set(names)
    assert "email_hash" not in names
    assert set(ENGINEERED) == set(FIT_AGGREGATIONS)


@pytest.mark.parametrize("drop", ["seats", "leads.seats"])
def test_dropped_attributes_are_left_out(drop) -> None:
    names = build_catalogue(tables(), FeatureConfig(drop=(drop,)), day(50)).names
    assert "seats" not in names
    assert "source" in names


def test_leads_without_accounts_have_no_account_features() -> None:
    events = [{"lead_id": "a", "event_type": "call", "occurred_at": 1}]
    lonely = tables_of(leads=[{"lead_id": "a", "created_at": 0}], engagement_events=events)
    families = {f.family for f in build_catalogue(lonely, FeatureConfig(), day(50)).features}
    assert families == {"engagement"}


def test_braces_in_an_event_type_do_not_break_its_wording() -> None:
    events = [{"lead_id": "a", "event_type": "{value.__class__}", "occurred_at": 1}]
    braced = tables_of(leads=[{"lead_id": "a", "created_at": 0}], engagement_events=events)
    for feature in build_catalogue(braced, FeatureConfig(), day(50)).features:
        assert "class" not in feature.wording.format(value=1).replace("(value.__class__)", "")


def test_population_settings_that_features_depend_on_are_kept() -> None:
    population = PopulationConfig(account_from="account_id", attribution_days=30)
    assert build_catalogue(tables(), FeatureConfig(), day(50), population).attribution_days == 30


def test_a_flat_catalogue_holds_the_columns_beside_the_index() -> None:
    rows = pd.DataFrame(
        {
            "lead_id": ["1"],
            "as_of": [day(0)],
            "Country": ["FR"],
            "visits": [3.0],
            "any {brace}": ["x"],
        }
    )
    features = flat_catalogue(rows, FeatureConfig()).features
    assert [(f.name, f.dtype) for f in features] == [
        ("Country", "category"),
        ("visits", "number"),
        ("any {brace}", "category"),
    ]
    assert [f.wording.format(value=1) for f in features] == [
        "Country: 1",
        "Visits: 1",
        "Any brace: 1",
    ]


def test_json_and_back_is_the_same_catalogue(catalogue) -> None:
    assert Catalogue.from_dict(json.loads(json.dumps(catalogue.to_dict()))) == catalogue


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["features"], None),
        (["features", 0], "text"),
        (["features", 0, "family"], "other"),
        (["features", 0, "dtype"], "float"),
        (["features", 0, "aggregation"], "made_up"),
        (["features", 0, "window_days"], -1),
        (["features", 0, "window_days"], True),
        (["features", 0, "name"], 7),
        (["features", 0, "surprise"], "x"),
        (["features", 1, "name"], "source"),
        (["account_from"], "phone"),
        (["attribution_days"], "90"),
        (["undated"], [1]),
        (["groups"], {}),
        (["groups", 0], "text"),
        (["groups", 0, "stream"], "events.x"),
        (["groups", 0, "event_types"], "call"),
        (["groups", 0, "surprise"], "x"),
        (["other_types"], [1]),
        (["surprise"], 1),
    ],
)
def test_a_damaged_catalogue_is_refused(catalogue, path, value) -> None:
    damaged = copy.deepcopy(catalogue.to_dict())
    place = damaged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError):
        Catalogue.from_dict(damaged)
