"""The features of events: which there are, and how they are told."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from features.catalogue.contents import Contents
from features.catalogue.feature import (
    ALL_EVENTS,
    GROUPS,
    JOURNEY,
    OTHER_EVENTS,
    EventGroup,
    Feature,
)
from features.catalogue.wording import (
    ANYTHING,
    NO_COMPANY,
    OTHER,
    Phrase,
    phrase_of,
    phrase_of_group,
    slug,
    start,
)
from features.config import FeatureConfig

_OTHERS_KEPT = 1000
"Types counted as `other` that are remembered by name."


class Stream(NamedTuple):
    """A stream of events that features are made of."""

    name: str
    prefix: str
    "Of the features' names."
    phrase: Phrase
    has_values: bool
    is_seen: bool
    "Whether any event is in it so far."


def _own_and_other(contents: Contents, most: int) -> tuple[list[str], list[str]]:
    """Return the types with a stream of their own, by name, and the others, frequent ones first."""
    counts = contents.event_types
    types = sorted(counts, key=lambda name: (-counts[name], name))
    own = [name for name in sorted(types[:most]) if name != "*"]  # events.* means all others
    return own, [name for name in types if name not in set(own)]


def other_types(contents: Contents, config: FeatureConfig) -> tuple[str, ...]:
    """Return the types that are counted as `other`, the most frequent thousand."""
    return tuple(sorted(_own_and_other(contents, config.max_event_types)[1][:_OTHERS_KEPT]))


def streams_of(
    contents: Contents, config: FeatureConfig, groups: tuple[EventGroup, ...]
) -> list[Stream]:
    """Return the streams: all events, the types, all other types, the groups."""
    own, others = _own_and_other(contents, config.max_event_types)
    with_values = contents.types_with_values
    named = [(ALL_EVENTS, "any", ANYTHING, [*own, *others])]
    named.append((OTHER_EVENTS, "other", OTHER, others))
    named += [(f"{ALL_EVENTS}.{name}", slug(name), phrase_of(name), [name]) for name in own]
    for group in groups:
        seen = [name for name in group.event_types if name in contents.event_types]
        # A group of one type is the stream of that type once more.
        if group.stream.startswith(f"{GROUPS}.") and (len(seen) > 1 or seen[0] not in own):
            name = group.stream.removeprefix(f"{GROUPS}.")
            named.append((group.stream, slug(name), phrase_of_group(name), seen))
    streams, taken = [], set[str]()
    for stream, wanted, phrase, types in named:
        prefix, number = wanted, 2
        while prefix in taken:
            prefix, number = f"{wanted}_{number}", number + 1
        taken.add(prefix)
        has_values = not with_values.isdisjoint(types)
        streams.append(Stream(stream, prefix, phrase, has_values, bool(types)))
    return streams


def _of_many(did: str) -> str:
    return did.replace("was ", "were ", 1) if did.startswith("was ") else did


def engagement(
    streams: list[Stream], contents: Contents, config: FeatureConfig
) -> Iterator[Feature]:
    """Yield what the lead did: in each stream, and over all of them."""
    for stream in streams:
        yield from _counts(stream, config)
        if not stream.is_seen:  # types first seen later are counted, and show that data drift
            continue
        yield from _dated(stream, config)
        if stream.has_values:
            yield from _values(stream, config)
        if stream.name.startswith(f"{GROUPS}."):
            yield from _trend(stream, f"{stream.prefix}_trend", stream.prefix, config)
    yield from _overall(streams[0], contents, config)


def _counts(stream: Stream, config: FeatureConfig) -> Iterator[Feature]:
    phrase = stream.phrase
    for days in sorted(config.windows_days):
        yield Feature(
            name=f"{stream.prefix}_count_{days}d",
            family="engagement",
            concept=stream.prefix,
            aggregation="count",
            stream=stream.name,
            window_days=days,
            wording=f"{start(phrase.did)} {{value}} times in the last {days} days",
            one_wording=f"{start(phrase.did)} once in the last {days} days",
            zero_wording=f"No {phrase.one} in the last {days} days",
        )


def _values(stream: Stream, config: FeatureConfig) -> Iterator[Feature]:
    phrase = stream.phrase
    for days in sorted(config.windows_days):
        yield Feature(
            name=f"{stream.prefix}_value_{days}d",
            family="engagement",
            concept=stream.prefix,
            aggregation="value_sum",
            stream=stream.name,
            window_days=days,
            wording=f"{start(phrase.many)} with a total value of {{value}} in the last {days} days",
            zero_wording=f"No {phrase.one} with a value in the last {days} days",
        )


def _dated(stream: Stream, config: FeatureConfig) -> Iterator[Feature]:
    phrase = stream.phrase
    feature = partial(Feature, family="engagement", concept=stream.prefix, stream=stream.name)
    for half_life in sorted(config.half_lives_days):
        yield feature(
            name=f"{stream.prefix}_decayed_{half_life}d",
            aggregation="decayed_count",
            half_life_days=half_life,
            wording=f"Recent {phrase.many} (halving every {half_life} days): {{value}}",
            zero_wording=f"No {phrase.one} so far",
        )
    yield feature(
        name=f"{stream.prefix}_days_since_last",
        aggregation="days_since_last",
        wording=f"Last {phrase.one} {{value}} days ago",
        missing_wording=f"No {phrase.one} so far",
    )
    yield feature(
        name=f"{stream.prefix}_days_since_first",
        aggregation="days_since_first",
        wording=f"First {phrase.one} {{value}} days ago",
        missing_wording=f"No {phrase.one} so far",
    )


def _trend(stream: Stream, name: str, concept: str, config: FeatureConfig) -> Iterator[Feature]:
    windows = sorted(set(config.windows_days))
    if len(windows) < 2:
        return
    recent, longer = windows[-2:]
    heading = start(stream.phrase.many)
    yield Feature(
        name=name,
        family="engagement",
        concept=concept,
        aggregation="trend",
        stream=stream.name,
        window_days=recent,
        longer_window_days=longer,
        wording=f"{heading} of the last {recent} days against the time before: {{value}} "
        "(1: only recent, -1: only earlier)",
        zero_wording=f"{heading} as often in the last {recent} days as before",
        missing_wording=f"No {stream.phrase.one} in the last {longer} days",
    )


def _overall(everything: Stream, contents: Contents, config: FeatureConfig) -> Iterator[Feature]:
    """Yield what is asked of all events together."""
    feature = partial(Feature, family="engagement", stream=ALL_EVENTS)
    for days in sorted(config.windows_days):
        yield feature(
            name=f"active_days_{days}d",
            concept="any",
            aggregation="active_days",
            window_days=days,
            wording=f"Active on {{value}} days of the last {days}",
            one_wording=f"Active on one day of the last {days}",
            zero_wording=f"Not active in the last {days} days",
        )
    for column, what in (("content", "pieces of content"), ("campaign", "campaigns")):
        for days in sorted(config.windows_days) if column in contents.filled else ():
            yield feature(
                name=f"distinct_{column}s_{days}d",
                concept=f"distinct_{column}s",
                aggregation=f"distinct_{column}s",
                window_days=days,
                wording=f"Active with {{value}} different {what} in the last {days} days",
                one_wording=f"Active with one {column} in the last {days} days"
                if column == "campaign"
                else f"Active with one piece of content in the last {days} days",
                zero_wording=f"Active with no {column} in the last {days} days",
            )
    yield feature(
        name="longest_silence",
        concept="longest_silence",
        aggregation="longest_silence",
        wording="Longest break between two activities: {value} days",
        missing_wording="Fewer than two activities so far",
    )
    yield from _trend(everything, "activity_trend", "activity_trend", config)
    yield from _categories(contents, config)


def _categories(contents: Contents, config: FeatureConfig) -> Iterator[Feature]:
    feature = partial(Feature, family="engagement", dtype="category")
    days = max(config.windows_days)
    yield feature(
        name="journey_stage",
        concept="journey_stage",
        aggregation="journey_stage",
        stream=JOURNEY,
        window_days=days,
        wording=f"In the {{value}} stage, by activity in the last {days} days",
        missing_wording=f"Not active in the last {days} days, so in no stage",
    )
    for which in ("first", "last") if "channel" in contents.filled else ():
        yield feature(
            name=f"{which}_touch_channel",
            concept=f"{which}_touch_channel",
            aggregation=f"{which}_touch_channel",
            stream=ALL_EVENTS,
            wording=f"{start(which)} activity through {{value}}",
            missing_wording="No activity through a known channel so far",
        )


def account_engagement(streams: list[Stream], config: FeatureConfig) -> Iterator[Feature]:
    """Yield what the account did: colleagues alone, and the whole account with the lead."""
    windows = sorted(config.windows_days)
    middle = [windows[len(windows) // 2]]
    for stream in streams:
        is_broad = stream.name == ALL_EVENTS or stream.name.startswith(f"{GROUPS}.")
        if stream.is_seen:
            yield from _of_account(stream, windows if is_broad else middle, config)
    feature = partial(Feature, family="account", concept="account.any", stream=ALL_EVENTS)
    for days in windows:
        yield feature(
            name=f"active_colleagues_{days}d",
            aggregation="active_colleagues",
            window_days=days,
            wording=f"{{value}} colleagues active in the last {days} days",
            one_wording=f"One colleague active in the last {days} days",
            zero_wording=f"No colleague active in the last {days} days",
            missing_wording=NO_COMPANY,
        )
    yield feature(
        name="days_since_colleague",
        aggregation="days_since_colleague",
        wording="A colleague was last active {value} days ago",
        missing_wording="No colleague has been active so far, or the company is not known",
    )


def _of_account(stream: Stream, windows: list[int], config: FeatureConfig) -> Iterator[Feature]:
    prefix, phrase = stream.prefix, stream.phrase
    feature = partial(Feature, family="account", concept=f"account.{prefix}", stream=stream.name)
    for days in windows:
        yield feature(
            name=f"colleagues_{prefix}_count_{days}d",
            aggregation="colleague_count",
            window_days=days,
            wording=f"Colleagues {_of_many(phrase.did)} {{value}} times in the last {days} days",
            one_wording=f"A colleague {phrase.did} once in the last {days} days",
            zero_wording=f"No {phrase.one} by colleagues in the last {days} days",
            missing_wording=NO_COMPANY,
        )
    for half_life in sorted(config.half_lives_days):
        yield feature(
            name=f"account_{prefix}_decayed_{half_life}d",
            aggregation="account_decayed_count",
            half_life_days=half_life,
            wording=f"Recent {phrase.many} of the whole company (halving every {half_life} "
            "days): {value}",
            zero_wording=f"No {phrase.one} by anyone at the company so far",
            missing_wording=NO_COMPANY,
        )
    if stream.name.startswith(f"{GROUPS}."):
        yield feature(
            name=f"days_since_colleague_{prefix}",
            aggregation="days_since_colleague",
            wording=f"Last {phrase.one} by a colleague {{value}} days ago",
            missing_wording=f"No {phrase.one} by a colleague so far, or the company is not known",
        )
