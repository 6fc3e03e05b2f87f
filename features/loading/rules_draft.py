"""A first `rules.toml`: a points table over the event types and attributes that the data hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from features.catalogue.catalogue import Catalogue, catalogue_of, flat_catalogue
from features.catalogue.contents import contents_of
from features.catalogue.event_groups import EXPLICIT_INTEREST, words_of
from features.catalogue.feature import GROUPS, JOURNEY, Feature
from features.catalogue.wording import phrase_of, start, title
from features.config import Config
from features.errors import InputError
from features.loading.flat import load_flat
from features.loading.scaffold import toml_value
from features.loading.sources import CheckedSources, checked_sources, fetch
from features.tables import CONTRACT, Tables

MOST_EVENTS = 20
"Event types that get a line of their own."
LEAST_LEADS = 10
"A value of fewer leads is not written out: it may name a person."
MOST_VALUES = 30
"A column with more values is a text rather than a category."
_SHOWN_VALUES = 6
_HALF_LIFE_DAYS = 30
_QUIET_DAYS = 60
_FIT_MAX = 40
_ENGAGEMENT_MAX = 60
_LONGEST_TYPE = 60

# Points each and cap, by what the type's name says of the lead; what tells most comes first.
_POINTS = {
    "asked": (20, 40),
    "decision": (10, 30),
    "consideration": (5, 15),
    "refused": (-10, -20),
    "awareness": (1, 5),
}
_ASKED = {"demo", "demos", "quote", "quotation", "proposal", "contact", "callback"}
_REFUSED = {"unsubscribe", "unsubscribed", "unsubscription", "optout", "spam", "complaint"}
_REFUSED |= {"bounce", "bounced", "bounces"}

# What holds for most companies that sell to companies, by the engineered feature it reads.
_FIT_LINES: dict[str, tuple[str, tuple[str, ...], int]] = {
    "seniority": ("Decides on budgets", ("c_level", "vp", "director"), 15),
    "size_band": (
        "Mid-sized or large company",
        ("51-200", "201-500", "501-1000", "1001-5000", "5001+"),
        15,
    ),
    "email_kind": ("Personal e-mail address", ("free",), -10),
}
_HEADING = """\
# rules.toml: the points that marketing gives without a model. A draft: the points follow from the
# names of your event types and from who usually buys. Change them to yours.
# fit is who they are (graded A to D), engagement what they did (1 to 4). Positive points of a
# section stop at its max; negative ones always count in full.
"""
_DISQUALIFIERS = """\
# never an MQL, whatever the points:
# [[disqualify]]
# name = "Competitor"
# feature = "accounts.industry"
# in = ["competitor"]
"""


class _Line(NamedTuple):
    """One rule as text, and the most points it can give."""

    text: str
    most: int


class _Found(NamedTuple):
    """What a draft is made from."""

    catalogue: Catalogue
    event_counts: dict[str, int]
    rows: dict[str, pd.DataFrame]
    "Of leads and accounts."


def draft_rules(config: Config, folder: Path) -> str:
    """Return the text of a `rules.toml` for the data that `config` reads in `folder`.

    The points are a start for a discussion, not a finding: nothing is learnt from who won.
    Attributes whose good values nobody can guess from here are left as comments. Raises InputError
    where the data cannot be loaded, or that leaves no rule that gives points.
    """
    found = _found_flat(config, folder) if config.flat else _found_tables(config, folder)
    fit, engagement = list(_fit_lines(found.catalogue)), list(_event_lines(found, config))
    reach = min(_most(fit), _FIT_MAX) + min(_most(engagement), _ENGAGEMENT_MAX)
    if not reach:
        raise InputError(
            "No event type, job title, company size or e-mail domain tells what is worth points."
        )
    threshold = max(1, round(reach / 2))
    guesses = [f"# {line}" for line in _guesses(found)]
    if guesses:
        guesses.insert(0, "# yours to decide, with the most common values:")
    return "\n".join(
        [
            f"{_HEADING}mql_threshold = {threshold}  # points from which a lead is an MQL\n",
            *_section("fit", _FIT_MAX, [*(line.text for line in fit), *guesses]),
            *_section("engagement", _ENGAGEMENT_MAX, [line.text for line in engagement]),
            _DISQUALIFIERS,
        ]
    )


def _most(lines: list[_Line]) -> int:
    return sum(max(line.most, 0) for line in lines)


def _section(name: str, most: int, lines: list[str]) -> list[str]:
    return [f"[{name}]", f"max = {most}", "rules = [", *(f"  {line}" for line in lines), "]\n"]


def _found_flat(config: Config, folder: Path) -> _Found:
    export = load_flat(config, folder, labels_needed=False)
    columns = ["lead_id", *export.attributes]
    catalogue = flat_catalogue(export.rows[list(export.attributes)], config.features)
    return _Found(catalogue, {}, {"leads": export.rows[columns]})


def _found_tables(config: Config, folder: Path) -> _Found:
    with (
        tempfile.TemporaryDirectory() as spill,
        checked_sources(config, folder, Path(spill), required=("leads",)) as checked,
    ):
        counts = _event_counts(checked)
        tables = _without_events(checked)
    # The events themselves stay in DuckDB: there may be many, and their types are all that counts.
    contents = replace(contents_of(tables, checked.data_until), event_types=counts)
    catalogue = catalogue_of(contents, config.features, config.population)
    return _Found(catalogue, counts, {"leads": tables.leads, "accounts": tables.accounts})


def _event_counts(checked: CheckedSources) -> dict[str, int]:
    moment = f"timestamp '{checked.data_until}'"
    return dict(
        checked.connection.execute(
            "select event_type, count(*) from kept_engagement_events"
            f" where recorded_at < {moment} and occurred_at < {moment} group by 1 order by 1"
        ).fetchall()
    )


def _without_events(checked: CheckedSources) -> Tables:
    limits = {"engagement_events": " limit 0"}
    frames = {
        name: fetch(
            checked.connection, f"select * exclude (row) from kept_{name}{limits.get(name, '')}"
        )
        for name in CONTRACT
    }
    return Tables(
        **frames,
        data_until=checked.data_until,
        present=checked.present,
        current_state=checked.current_state,
    )


def _fit_lines(catalogue: Catalogue) -> Iterator[_Line]:
    for feature in catalogue.features:
        if feature.aggregation in _FIT_LINES:
            name, values, points = _FIT_LINES[feature.aggregation]
            asked = f"feature = {toml_value(feature.name)}, in = {toml_value(values)}"
            yield _Line(f"{{name = {toml_value(name)}, {asked}, points = {points}}},", points)


def _event_lines(found: _Found, config: Config) -> Iterator[_Line]:
    """Yield a line per event type, those that tell most first, then the frequent ones."""
    counted = _counted(config)
    kinds = {name: _kind(name, found.catalogue) for name in found.catalogue.own_types}
    told = [name for name in kinds if kinds[name] in _POINTS and _is_tellable(name)]
    order = list(_POINTS)
    told.sort(key=lambda name: (order.index(kinds[name] or ""), -found.event_counts[name], name))
    told = told[:MOST_EVENTS] if counted else []
    caps = [_POINTS[kinds[name] or ""][1] for name in told]
    # With few types each is worth more, so that the section can be filled.
    scale = max(1, _ENGAGEMENT_MAX // (sum(cap for cap in caps if cap > 0) or _ENGAGEMENT_MAX))
    names = set[str]()
    for event_type in told:
        each, cap = (points * scale for points in _POINTS[kinds[event_type] or ""])
        name = start(phrase_of(event_type).did)
        name = name if name not in names else f"{name} ({event_type})"
        names.add(name)
        event = f"event = {toml_value(event_type)}, {counted}"
        points = f"points_each = {each}, cap = {cap}"
        yield _Line(f"{{name = {toml_value(name)}, {event}, {points}}},", cap)
    if "any_days_since_last" in found.catalogue.names and "Gone quiet" not in names:
        asked = f'feature = "any_days_since_last", at_least = {_QUIET_DAYS}'
        yield _Line(f'{{name = "Gone quiet", {asked}, points = -10}},', -10)


def _counted(config: Config) -> str:
    """Return how events are counted: fading by about a month, or in a window of about one."""
    for setting, days in (
        ("half_life_days", config.features.half_lives_days),
        ("window_days", config.features.windows_days),
    ):
        if days:
            return f"{setting} = {min(days, key=lambda each: abs(each - _HALF_LIFE_DAYS))}"
    return ""


def _kind(event_type: str, catalogue: Catalogue) -> str | None:
    """Return the key of `_POINTS` for a type; None where its name tells nothing of the lead."""
    streams = catalogue.streams_of(event_type)
    words = words_of(event_type)
    if f"{JOURNEY}.ignored" in streams:
        return "refused" if words & _REFUSED or {"opt", "out"} <= words else None
    for stage in ("decision", "consideration"):
        if f"{JOURNEY}.{stage}" in streams:
            is_asked = f"{GROUPS}.{EXPLICIT_INTEREST}" in streams and bool(words & _ASKED)
            return "asked" if stage == "decision" and is_asked else stage
    return "awareness"


def _is_tellable(name: str) -> bool:
    return name.isprintable() and len(name) <= _LONGEST_TYPE


def _guesses(found: _Found) -> Iterator[str]:
    """Yield a line per attribute, to be commented out: good values are for people to name."""
    for feature in found.catalogue.features:
        if feature.aggregation == "attribute" and _is_tellable(feature.stream):
            asked = _asked(feature, found.rows)
            if asked:
                named = f"name = {toml_value(title(feature.name))}"
                yield f"{{{named}, feature = {toml_value(feature.stream)}, {asked}, points = 5}},"


def _asked(feature: Feature, rows: dict[str, pd.DataFrame]) -> str:
    """Return a condition with values the attribute has; nothing for texts and for what is rare."""
    owner, _, column = feature.stream.partition(".")
    values = rows[owner][column].dropna()
    if feature.dtype == "number":
        above = values[values > values.min()]  # half of a column that is mostly 0 is not a half
        return "" if above.empty else f"at_least = {float(above.median()):.6g}"
    key = "lead_id" if owner == "leads" else "account_id"
    counts = rows[owner].loc[values.index].groupby(column)[key].nunique()
    counts = counts[counts >= LEAST_LEADS].sort_values(ascending=False, kind="stable")
    common = [str(value) for value in counts.index if _is_tellable(str(value))]
    if not common or values.nunique() > MOST_VALUES:
        return ""
    return f"in = {toml_value(tuple(common[:_SHOWN_VALUES]))}"
