"""Leads as the ledger tells them, made up."""

from __future__ import annotations

from typing import Any

NOW = 1_777_975_200_000_000  # 2026-05-05T10:00:00Z

_REASONS = [
    ("demo_request", "engagement", "Asked for a demo twice in the last 30 days", 0.124),
    ("pricing_view", "engagement", "Viewed the pricing page 4 times in the last 30 days", 0.081),
    ("industry", "fit", "Industry is Software", 0.052),
    ("account_activity", "account", "Colleagues were active 11 times in the last 30 days", 0.047),
    ("job_title", "fit", "Job title is not known", -0.038),
    ("email_open", "engagement", "No e-mail opened in the last 30 days", -0.021),
    ("company_size", "fit", "Company has 340 employees", 0.019),
    ("source", "fit", "Came from Trade fair (rare or new)", 0.012),
    ("webinar_attended", "engagement", None, -0.008),
    ("lead_age", "fit", "Is known for 23 days", 0.006),
    ("web_visit", "engagement", None, 0.004),
    ("docs_view", "engagement", None, -0.002),
]
_CALIBRATION_POINTS = 0.014
CROSSING = {
    "reached": True,
    "ways": [
        {
            "events": [{"event_type": "demo_request", "count": 2}],
            "probability": 0.304,
            "text": "If it asked for a demo twice",
        }
    ],
    "text": "Leads who did so won more often; that is no promise.",
}


def reasons() -> list[dict[str, Any]]:
    """Reasons as stored: all concepts, the calibration's term last."""
    terms = [*_REASONS, ("calibration", "calibration", "Adjustment", _CALIBRATION_POINTS)]
    return [
        {
            "concept": concept,
            "family": family,
            "text": text,
            "points": points,
            "log_odds": 6 * points,
        }
        for concept, family, text, points in terms
    ]


def item(lead_id: str = "L-1042", **other: Any) -> dict[str, Any]:
    """One lead of the list: an MQL that waits since yesterday."""
    return {
        "lead_id": lead_id,
        "account_id": "A-77",
        "score_id": "01JTEST0000000000000000001",
        "as_of": "2026-05-04T08:30:00Z",
        "probability": 0.332,
        "grade": "B",
        "qualified": True,
        "cutoff": 0.218,
        "track": "hand over",
        "why": "Why: Asked for a demo twice in the last 30 days (+12 points); Viewed the pricing "
        "page 4 times in the last 30 days (+8.1 points); Industry is Software (+5.2 points)",
        "model_version": "3",
        "mql_at": "2026-05-04T08:30:00Z",
        "state": "mql",
        "accepted_at": None,
        "contacted_at": None,
        "is_exploration": False,
        "is_overdue": True,
    } | other


def lead(lead_id: str = "L-1042", **other: Any) -> dict[str, Any]:
    """One lead with everything there is to say of it."""
    whole = item(lead_id) | {
        "reasons": reasons(),
        "base_probability": 0.042,
        "change": {
            "previous": {
                "score_id": "01JTEST0000000000000000000",
                "as_of": "2026-04-28T09:00:00Z",
                "probability": 0.187,
                "model_version": "2",
            },
            "points": 0.145,
            "parts": [
                {"what": "fields", "points": 0.01, "text": "Company size"},
                {"what": "time", "points": -0.025, "text": "Web visits grew old"},
                {"what": "new events", "points": 0.172, "text": "Demo request, pricing page views"},
                {"what": "model version", "points": -0.012, "text": ""},
            ],
            "text": "Up 14 points since 28 April 2026: Asked for a demo twice in the last 30 days",
        },
        "complete": True,
        "unknown": [],
        "is_eligible": True,
        "crossing": None,
        "timeline": [
            event("2026-05-04T08:29:11Z", "demo_request", channel="web", campaign="Spring launch"),
            event("2026-05-04T08:12:00Z", "pricing_view", channel="web"),
            event("2026-05-02T16:40:00Z", "email_click", channel="email", content="Case study 4"),
            event("2026-04-20T07:00:00Z", "Roof inspection", value=1250.0),
        ],
        "history": [
            score("2026-05-04T08:30:00Z", 0.332, qualified=True, change_points=0.145),
            score("2026-05-01T00:00:00Z", 0.151, is_backfill=True),
            score("2026-04-28T09:00:00Z", 0.187, change_points=0.069, version="2"),
            score("2026-04-14T00:00:00Z", 0.118, version="2"),
        ],
        "verdicts": [],
        "mqls": [
            {
                "mql_at": "2026-05-04T08:30:00Z",
                "score_id": "01JTEST0000000000000000001",
                "accepted_at": None,
                "contacted_at": None,
                "accept_due": "2026-05-05T08:30:00Z",
                "contact_due": "2026-05-06T08:30:00Z",
            }
        ],
        "features": {"pricing_view_count_30d": 4.0, "industry": "Software", "job_title": None},
    }
    return whole | other


def event(occurred_at: str, event_type: str, **known: Any) -> dict[str, Any]:
    """One engagement event of the timeline."""
    return {"occurred_at": occurred_at, "event_type": event_type} | known


def score(
    as_of: str,
    probability: float,
    *,
    qualified: bool = False,
    is_backfill: bool = False,
    change_points: float | None = None,
    version: str = "3",
) -> dict[str, Any]:
    """One score of the history."""
    return {
        "score_id": f"01J{as_of}",
        "as_of": as_of,
        "probability": probability,
        "grade": "B" if qualified else "C",
        "qualified": qualified,
        "cutoff": 0.218 if version == "3" else 0.25,
        "model_version": version,
        "is_backfill": is_backfill,
        "change_points": change_points,
    }
