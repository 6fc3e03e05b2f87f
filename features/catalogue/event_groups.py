"""Which event types belong together: explicit interest, and the stages of the journey."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from features.catalogue.feature import GROUPS, JOURNEY, EventGroup
from features.catalogue.wording import slug
from features.config import FeatureConfig
from features.errors import InputError

EXPLICIT_INTEREST = "explicit_interest"

# Words of event type names. Matched as whole words, so that "trialogue" is no trial.
_ASKED = {"demo", "demos", "trial", "trials", "quote", "quotes", "quotation", "proposal"}
_PRICING = {"pricing", "price", "prices"}
_CONTACT = {"contact", "contacted", "callback"}
_CONTACTED_US = {"request", "requested", "requests", "us", "sales", "form", "me", "submit"}
_CONTACTED_US |= {"submitted", "submission", "inquiry", "enquiry"}
_LOOKED = {"view", "views", "viewed", "visit", "visited", "page", "click", "clicked"}
_MET = {"meeting", "meetings", "call", "calls", "appointment", "consultation"}
_COMPARED = {"case", "webinar", "webinars", "docs", "documentation", "product", "products"}
_COMPARED |= {"comparison", "compare", "datasheet", "download", "downloads", "downloaded"}
_COMPARED |= {"whitepaper", "ebook", "guide", "roi", "calculator", "reply", "replied", "chat"}
_COMPARED |= {"event", "workshop", "features", "integration", "integrations", "form"}
# An undone or refused step is no interest, and what we sent tells nothing of the lead.
_UNDONE = {"cancel", "canceled", "cancelled", "declined", "expired", "ended", "rejected", "missed"}
_NEGATIVE = {"unsubscribe", "unsubscribed", "unsubscription", "bounce", "bounced", "bounces"}
_NEGATIVE |= {"spam", "complaint", "optout", "sent", "delivered", "deferred", "dropped"}


def explicit_interest(event_types: Iterable[str]) -> tuple[str, ...]:
    """Return the types whose names say that the lead asked for something.

    >>> explicit_interest(["Pricing page view", "DemoRequest", "email_open", "trial_expired"])
    ('DemoRequest', 'Pricing page view')
    """
    return tuple(sorted(name for name in event_types if _is_explicit(words_of(name))))


def journey_stage(event_type: str) -> str:
    """Return the stage a type's name speaks of, `ignored` where it tells nothing.

    Looking at the prices is weighing; asking for them is deciding.

    >>> [journey_stage(name) for name in ("page_view", "pricing_view", "demo_request", "sent")]
    ['awareness', 'consideration', 'decision', 'ignored']
    """
    words = words_of(event_type)
    if words & (_NEGATIVE | _UNDONE) or {"opt", "out"} <= words or {"no", "show"} <= words:
        return "ignored"
    if words & _PRICING and words & _LOOKED:
        return "consideration"
    if _is_explicit(words) or words & _MET:
        return "decision"
    return "consideration" if words & (_COMPARED | _PRICING) else "awareness"


def words_of(event_type: str) -> set[str]:
    """Return the words of a type's name, in lower case.

    >>> sorted(words_of("DemoRequest_2"))
    ['2', 'demo', 'request']
    """
    return set(slug(re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", event_type)).split("_"))


def _is_explicit(words: set[str]) -> bool:
    if words & (_NEGATIVE | _UNDONE) or {"no", "show"} <= words:
        return False
    if words & _CONTACT:
        return bool(words & _CONTACTED_US) or len(words) == 1 or "callback" in words
    return bool(words & (_ASKED | _PRICING))


def event_groups(event_types: Collection[str], config: FeatureConfig) -> tuple[EventGroup, ...]:
    """Return the groups that `event_types` have a part in: those of `config`, else by name.

    Configured types that are not among them stay: they count once they occur.
    """
    named = dict(config.groups)
    if EXPLICIT_INTEREST not in named:
        named[EXPLICIT_INTEREST] = explicit_interest(event_types)
    groups = [
        EventGroup(f"{GROUPS}.{name}", tuple(sorted(set(members))))
        for name, members in sorted(named.items())
        if set(members) & set(event_types)
    ]
    return (*groups, *_journey(event_types, config))


def _journey(event_types: Collection[str], config: FeatureConfig) -> list[EventGroup]:
    """Return the types of each stage but awareness, and those ignored; none is in two."""
    stages = ("decision", "consideration", "ignored")
    chosen: dict[str, str] = {}
    for stage in reversed(stages):  # of two stages the user gave one type, the furthest counts
        chosen |= dict.fromkeys(getattr(config.journey, stage) or (), stage)
    for name in event_types:
        stage = journey_stage(name)
        # A stage the user lists holds what is listed and nothing else.
        if name not in chosen and stage in stages and getattr(config.journey, stage) is None:
            chosen[name] = stage
    members = {stage: sorted(name for name in chosen if chosen[name] == stage) for stage in stages}
    return [
        EventGroup(f"{JOURNEY}.{stage}", tuple(members[stage]))
        for stage in stages
        if members[stage]
    ]


def refuse_unknown_types(config: FeatureConfig, event_types: Collection[str]) -> None:
    """Raise InputError for configured types that occur nowhere: a typo would count nothing."""
    if not event_types:
        return
    settings = {f"groups.{name}": members for name, members in config.groups.items()}
    for stage in ("consideration", "decision", "ignored"):
        settings[f"journey.{stage}"] = getattr(config.journey, stage) or ()
    for setting, members in settings.items():
        unknown = [name for name in members if name not in event_types]
        if unknown:
            raise InputError(
                f"[features] {setting} names {len(unknown)} event types that never occur: "
                f"{', '.join(unknown[:3])}. Known are {', '.join(sorted(event_types)[:20])}."
            )
