"""The features of events and of the funnel: which there are, and how they are told."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from features.config import FeatureConfig
from features.feature import ALL_EVENTS, OTHER_EVENTS, Feature
from features.tables import Tables
from features.wording import ANYTHING, OTHER, Phrase, phrase_of, slug


def _streams(events: pd.DataFrame, most: int) -> dict[str, str]:
    """Return event type -> stream, the most frequent types first (ties by name)."""
    counts = events["event_type"].value_counts()
    types = sorted(counts.index, key=lambda name: (-counts[name], name))
    streams = {name: f"{ALL_EVENTS}.{name}" for name in sorted(types[:most]) if name != "*"}
    return streams | {name: OTHER_EVENTS for name in types if name not in streams}


def _streams_with_values(events: pd.DataFrame, streams: dict[str, str]) -> set[str]:
    carries = events.loc[events["value"].fillna(0) != 0, "event_type"].unique()
    return {streams[name] for name in carries} | ({ALL_EVENTS} if len(carries) else set())


def _named_streams(streams: dict[str, str]) -> list[tuple[str, str, Phrase]]:
    """Return (stream, prefix of feature names, phrase), all events first."""
    named = [(ALL_EVENTS, "any", ANYTHING)]
    if OTHER_EVENTS in streams.values():
        named.append((OTHER_EVENTS, "other", OTHER))
    taken = {prefix for _, prefix, _ in named}
    for name, stream in streams.items():
        if stream != OTHER_EVENTS:
            prefix, number = slug(name), 2
            while prefix in taken:
                prefix, number = f"{slug(name)}_{number}", number + 1
            taken.add(prefix)
            named.append((stream, prefix, phrase_of(name)))
    return named


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of_many(did: str) -> str:
    return did.replace("was ", "were ", 1) if did.startswith("was ") else did


def engagement(events: pd.DataFrame, config: FeatureConfig) -> Iterator[Feature]:
    """Yield what the lead did: per event type found in `events`, and over all of them."""
    streams = _streams(events, config.max_event_types)
    with_values = _streams_with_values(events, streams)
    for stream, prefix, phrase in _named_streams(streams):
        yield from _own(stream, prefix, phrase, config)
        if stream in with_values:
            for days in sorted(config.windows_days):
                yield Feature(
                    name=f"{prefix}_value_{days}d",
                    family="engagement",
                    concept=prefix,
                    aggregation="value_sum",
                    stream=stream,
                    window_days=days,
                    wording=f"{_start(phrase.many)} with a total value of {{value}} in the last "
                    f"{days} days",
                    zero_wording=f"No {phrase.one} with a value in the last {days} days",
                )
    yield from _overall(config)


def _own(stream: str, prefix: str, phrase: Phrase, config: FeatureConfig) -> Iterator[Feature]:
    feature = partial(Feature, family="engagement", concept=prefix, stream=stream)
    for days in sorted(config.windows_days):
        yield feature(
            name=f"{prefix}_count_{days}d",
            aggregation="count",
            window_days=days,
            wording=f"{_start(phrase.did)} {{value}} times in the last {days} days",
            one_wording=f"{_start(phrase.did)} once in the last {days} days",
            zero_wording=f"No {phrase.one} in the last {days} days",
        )
    for half_life in sorted(config.half_lives_days):
        yield feature(
            name=f"{prefix}_decayed_{half_life}d",
            aggregation="decayed_count",
            half_life_days=half_life,
            wording=f"Recent {phrase.many} (halving every {half_life} days): {{value}}",
            zero_wording=f"No {phrase.one} so far",
        )
    yield feature(
        name=f"{prefix}_days_since_last",
        aggregation="days_since_last",
        wording=f"Last {phrase.one} {{value}} days ago",
        missing_wording=f"No {phrase.one} so far",
    )
    yield feature(
        name=f"{prefix}_days_since_first",
        aggregation="days_since_first",
        wording=f"First {phrase.one} {{value}} days ago",
        missing_wording=f"No {phrase.one} so far",
    )


def _overall(config: FeatureConfig) -> Iterator[Feature]:
    feature = partial(Feature, family="engagement", stream=ALL_EVENTS)
    windows = sorted(config.windows_days)
    for days in windows:
        yield feature(
            name=f"active_days_{days}d",
            concept="any",
            aggregation="active_days",
            window_days=days,
            wording=f"Active on {{value}} days of the last {days}",
            one_wording=f"Active on one day of the last {days}",
            zero_wording=f"Not active in the last {days} days",
        )
    if len(set(windows)) > 1:
        recent, longer = windows[-2:]
        yield feature(
            name="activity_trend",
            concept="activity_trend",
            aggregation="trend",
            window_days=recent,
            longer_window_days=longer,
            wording=f"Activity of the last {recent} days against the time before: {{value}} "
            "(1: only recent, -1: only earlier)",
            zero_wording=f"As active in the last {recent} days as before",
            missing_wording=f"Not active in the last {longer} days",
        )


def account_engagement(events: pd.DataFrame, config: FeatureConfig) -> Iterator[Feature]:
    """Yield what the account did: colleagues alone, and the whole account with the lead."""
    unknown = "The lead's company is not known"
    windows = sorted(config.windows_days)
    middle = windows[len(windows) // 2]
    for stream, prefix, phrase in _named_streams(_streams(events, config.max_event_types)):
        feature = partial(
            Feature,
            family="account",
            concept=f"account.{prefix}",
            stream=stream,
            missing_wording=unknown,
        )
        for days in windows if stream == ALL_EVENTS else [middle]:
            yield feature(
                name=f"colleagues_{prefix}_count_{days}d",
                aggregation="colleague_count",
                window_days=days,
                wording=f"Colleagues {_of_many(phrase.did)} {{value}} times in the last {days} "
                "days",
                one_wording=f"A colleague {phrase.did} once in the last {days} days",
                zero_wording=f"No {phrase.one} by colleagues in the last {days} days",
            )
        for half_life in sorted(config.half_lives_days):
            yield feature(
                name=f"account_{prefix}_decayed_{half_life}d",
                aggregation="account_decayed_count",
                half_life_days=half_life,
                wording=f"Recent {phrase.many} of the whole company (halving every {half_life} "
                "days): {value}",
                zero_wording=f"No {phrase.one} by anyone at the company so far",
            )
    feature = partial(Feature, family="account", concept="account.any", stream=ALL_EVENTS)
    for days in windows:
        yield feature(
            name=f"active_colleagues_{days}d",
            aggregation="active_colleagues",
            window_days=days,
            wording=f"{{value}} colleagues active in the last {days} days",
            one_wording=f"One colleague active in the last {days} days",
            zero_wording=f"No colleague active in the last {days} days",
            missing_wording=unknown,
        )
    yield feature(
        name="days_since_colleague",
        aggregation="days_since_colleague",
        wording="A colleague was last active {value} days ago",
        missing_wording="No colleague has been active so far, or the company is not known",
    )


def funnel(tables: Tables, until: pd.Timestamp, has_accounts: bool) -> Iterator[Feature]:
    """Yield the lead's age, its stage changes, and opportunities of the lead and its account."""
    yield Feature(
        name="lead_age_days",
        family="engagement",
        concept="lead_age",
        aggregation="lead_age_days",
        wording="A lead for {value} days",
        zero_wording="A lead since today",
    )
    if has_accounts:
        yield Feature(
            name="account_leads",
            family="account",
            concept="account.leads",
            aggregation="account_leads",
            wording="{value} leads known at the company",
            one_wording="The only lead known at the company",
            missing_wording="The lead's company is not known",
        )
    if (tables.stage_changes["recorded_at"] < until).any():
        yield from _stage_changes()
    if (tables.opportunities["created_recorded_at"] < until).any():
        yield from _opportunities("")
        if has_accounts:
            yield from _opportunities("account_")


def _stage_changes() -> Iterator[Feature]:
    yield Feature(
        name="days_since_stage_change",
        family="engagement",
        concept="stage_change",
        aggregation="days_since_stage_change",
        wording="Last handled by marketing or sales {value} days ago",
        missing_wording="Never handled by marketing or sales",
    )
    yield Feature(
        name="times_recycled",
        family="engagement",
        concept="recycled",
        aggregation="times_recycled",
        wording="Given back to marketing {value} times",
        one_wording="Given back to marketing once",
        zero_wording="Never given back to marketing",
    )


def _opportunities(owner: str) -> Iterator[Feature]:
    """Yield the opportunities of the lead (owner "") or of its account ("account_")."""
    whom = "at the company" if owner else "with the lead"
    unknown = "The lead's company is not known" if owner else ""
    none = "no opportunity at the company, or the company is not known"
    for aggregation, wording, one, zero, missing in (
        (
            "days_since_opportunity",
            f"Newest opportunity {whom} created {{value}} days ago",
            "",
            "",
            _start(none) if owner else "No opportunity with the lead so far",
        ),
        (
            "open_opportunities",
            f"{{value}} open opportunities {whom}",
            f"An open opportunity {whom}",
            f"No open opportunity {whom}",
            unknown,
        ),
        (
            "lost_opportunities",
            f"{{value}} opportunities {whom} lost before",
            f"An opportunity {whom} lost before",
            f"No opportunity {whom} lost before",
            unknown,
        ),
        (
            "days_since_lost",
            f"Last opportunity {whom} lost {{value}} days ago",
            "",
            "",
            f"No opportunity {whom} lost before" + (", or it is not known" if owner else ""),
        ),
    ):
        yield Feature(
            name=f"{owner}{aggregation}",
            family="account" if owner else "engagement",
            concept=f"{'account.' if owner else ''}opportunities",
            aggregation=f"{owner}{aggregation}",
            wording=wording,
            one_wording=one,
            zero_wording=zero,
            missing_wording=missing,
        )
