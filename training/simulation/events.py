"""The demo CRM's engagement events and campaigns: channels, contents, minutes, costs.

All of it is independent of the hidden stage, so it changes no probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from training.simulation.funnel import EVENT_TYPES, SOURCES, WEEK_US, Funnel, Ints
from training.simulation.history import History
from training.simulation.names import ids, instants, lead_ids, named, take

# Channels of an event type, equally likely; paid and owned campaigns have names and costs.
_CHANNELS = {
    "page_view": ("organic", "direct", "paid_search", "paid_social", "email"),
    "pricing_view": ("organic", "direct", "paid_search", "email"),
    "case_study_view": ("organic", "paid_social", "email"),
    "email_open": ("email",),
    "email_click": ("email",),
    "content_download": ("organic", "paid_social", "email", "syndication"),
    "webinar_attended": ("webinar",),
    "event_attended": ("event",),
    "chat": ("direct", "organic"),
    "call_answered": ("phone",),
    "demo_request": ("direct", "organic", "paid_search"),
    "trial_started": ("direct", "organic", "paid_search"),
    "trial_active": ("product",),
    "unsubscribed": ("email",),
    "form_submitted": ("organic", "paid_search", "webinar"),
}
_CAMPAIGN_CHANNELS = ("paid_search", "paid_social", "email", "syndication", "webinar", "event")
_DAILY_COST = (420.0, 260.0, 40.0, 150.0, 90.0, 310.0)
_CONTENTS = {
    "page_view": ("home", "product", "integrations", "blog", "about", "careers"),
    "pricing_view": ("pricing",),
    "case_study_view": ("case-manufacturing", "case-software", "case-finance"),
    "content_download": ("buyers-guide", "roi-calculator", "benchmark-report", "checklist"),
    "webinar_attended": ("product-tour", "customer-panel", "best-practices"),
    "form_submitted": ("contact", "newsletter"),
}
_BY_FORM = [SOURCES.index(name) for name in ("website", "paid_search", "webinar")]
_MINUTES = {"trial_active": 22.0, "webinar_attended": 35.0, "call_answered": 9.0}
"Mean of `value`, minutes, for the types that carry one."


def events_table(funnel: Funnel, history: History, rng: np.random.Generator) -> pd.DataFrame:
    """Return the events recorded so far, and the form that brought an inbound lead."""
    events, leads = history.events, history.leads
    names = (*EVENT_TYPES, "form_submitted")
    # Who came by a form is known from the source: it says nothing more about the stage.
    form = np.flatnonzero(np.isin(leads.source, _BY_FORM))
    lead = np.concatenate([events.lead, form])
    kind = np.concatenate([events.type, np.full(len(form), len(EVENT_TYPES))])
    occurred = np.concatenate([events.occurred, leads.created[form]])
    recorded = np.concatenate([events.recorded, leads.created[form]])
    # In the order they were recorded; the lead breaks ties.
    order = np.lexsort((lead, occurred, recorded))
    order = order[recorded[order] < funnel.mondays[-1]]
    lead, kind, occurred, recorded = lead[order], kind[order], occurred[order], recorded[order]
    channel_names = sorted({c for channels in _CHANNELS.values() for c in channels})
    channel = _one_of(_CHANNELS, names, channel_names, kind, rng)
    content_names = sorted({c for contents in _CONTENTS.values() for c in contents})
    content = _one_of(_CONTENTS, names, content_names, kind, rng)
    campaign_names, quarter = _campaigns(funnel)
    paid = np.array([_place(_CAMPAIGN_CHANNELS, name) for name in channel_names])[channel]
    week = (occurred - funnel.mondays[0]) // WEEK_US
    campaign = np.where(paid >= 0, quarter[week] * len(_CAMPAIGN_CHANNELS) + paid, -1)
    mean = np.array([_MINUTES.get(name, np.nan) for name in names])[kind]
    return pd.DataFrame(
        {
            "event_id": ids("E", len(order)),
            "lead_id": take(lead_ids(len(leads.account)), lead),
            "event_type": named(names, kind),
            "occurred_at": instants(occurred),
            "recorded_at": instants(recorded),
            "channel": named(channel_names, channel),
            "campaign": named(campaign_names, campaign),
            "content": named(content_names, content),
            "value": np.round(mean * rng.gamma(2.0, 0.5, len(order)), 1),
        }
    )


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else -1


def _one_of(
    choices: dict[str, tuple[str, ...]],
    types: Sequence[str],
    names: list[str],
    kind: Ints,
    rng: np.random.Generator,
) -> Ints:
    """Return for each event one of its type's choices, as a place in `names`; -1 without any."""
    most = max(len(choice) for choice in choices.values())
    table = np.full((len(types), most), -1)
    count = np.ones(len(types))
    for row, event_type in enumerate(types):
        places = [names.index(name) for name in choices.get(event_type, ())]
        table[row, : len(places)] = places
        count[row] = max(len(places), 1)
    return np.asarray(table[kind, (rng.random(len(kind)) * count[kind]).astype(np.int64)])


def _campaigns(funnel: Funnel) -> tuple[list[str], Ints]:
    """Return campaign names, quarter by quarter, and each week's quarter counted from the first."""
    months = funnel.mondays[:-1].astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    quarter = months // 3
    names = [
        f"{1970 + number // 4}q{number % 4 + 1}-{channel}"
        for number in range(int(quarter[0]), int(quarter[-1]) + 1)
        for channel in _CAMPAIGN_CHANNELS
    ]
    return names, quarter - quarter[0]


def costs_table(funnel: Funnel, rng: np.random.Generator) -> pd.DataFrame:
    """Return what each campaign cost on each day."""
    names, quarter = _campaigns(funnel)
    channels = len(_CAMPAIGN_CHANNELS)
    days = np.arange(funnel.weeks * 7)
    campaign = (quarter[days // 7, None] * channels + np.arange(channels)).ravel()
    cost = np.tile(_DAILY_COST, len(days)) * rng.gamma(8.0, 1 / 8.0, len(campaign))
    day = funnel.mondays[0].astype("datetime64[us]") + np.repeat(days, channels).astype(
        "timedelta64[D]"
    )
    return pd.DataFrame({"campaign": named(names, campaign), "day": day, "cost": np.round(cost, 2)})
