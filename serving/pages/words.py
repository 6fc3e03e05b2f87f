"""Numbers, instants and names as the pages say them."""

from __future__ import annotations

from datetime import UTC, datetime

from features.catalogue.wording import title
from models.wording import points_text

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400

REASON_CODES = {
    "not_a_fit": "Not a fit",
    "no_budget": "No budget",
    "no_authority": "Not the one who decides",
    "no_need": "No need",
    "bad_timing": "Bad timing",
    "bad_data": "Wrong or missing data",
    "competitor": "Chose or is a competitor",
    "duplicate": "Duplicate",
    "other": "Other",
}
"Why sales rejects or recycles an MQL: the codes a form may send, and how they are said."

STATES = {
    "mql": "Waiting for sales",
    "accepted": "Accepted",
    "contacted": "Contacted",
    "rejected": "Rejected",
    "recycled": "Recycled",
}
"States of a lead that was an MQL."


def percent_text(probability: float) -> str:
    """Return a probability for people.

    >>> [percent_text(probability) for probability in (0.3678, 0.0, 0.0004, 0.99997, 1.0)]
    ['36.8%', '0%', '<0.1%', '>99.9%', '100%']
    """
    percent = 100 * probability
    if percent in (0, 100):
        return f"{percent:.0f}%"
    if percent < 0.1:
        return "<0.1%"
    return ">99.9%" if percent > 99.9 else f"{percent:.1f}%"


def signed_points(points: float) -> str:
    """Return probability points with their sign, and a word for those too small to count.

    >>> signed_points(0.1234), signed_points(0.0)
    ('+12 points', '0 points')
    """
    return points_text(points) or "0 points"


def micros(instant: str) -> int:
    """Return an ISO 8601 instant as microseconds since 1970 UTC.

    >>> micros("1970-01-02T00:00:01Z")
    86401000000
    """
    since = datetime.fromisoformat(instant).astimezone(UTC) - datetime.fromtimestamp(0, UTC)
    return (since.days * _DAY + since.seconds) * 1_000_000 + since.microseconds


def day_text(instant: str) -> str:
    """Return the day of an ISO 8601 instant.

    >>> day_text("2026-05-03T10:00:00Z")
    '3 May 2026'
    """
    day = datetime.fromisoformat(instant).astimezone(UTC)
    return f"{day.day} {day:%B %Y}"


def clock_text(instant: str) -> str:
    """Return the time of day of an ISO 8601 instant, UTC.

    >>> clock_text("2026-05-03T10:05:31Z")
    '10:05'
    """
    return f"{datetime.fromisoformat(instant).astimezone(UTC):%H:%M}"


def instant_text(instant: str) -> str:
    """Return an ISO 8601 instant as day and time of day.

    >>> instant_text("2026-05-03T10:05:31Z")
    '3 May 2026, 10:05 UTC'
    """
    return f"{day_text(instant)}, {clock_text(instant)} UTC"


def span_text(seconds: float) -> str:
    """Return a stretch of time in its largest whole unit.

    >>> [span_text(seconds) for seconds in (20, 60, 7_200, 86_400, 400_000)]
    ['less than a minute', '1 minute', '2 hours', '24 hours', '4 days']
    """
    if seconds < _MINUTE:
        return "less than a minute"
    # Two days and less in hours: service levels are set in hours.
    if seconds < _HOUR:
        number, unit = int(seconds // _MINUTE), "minute"
    elif seconds < 2 * _DAY:
        number, unit = int(seconds // _HOUR), "hour"
    else:
        number, unit = int(seconds // _DAY), "day"
    return f"{number} {unit}{'' if number == 1 else 's'}"


def ago_text(instant: str, now: int) -> str:
    """Return how long ago an instant was; `now` in microseconds.

    >>> ago_text("1970-01-01T00:00:00Z", now=7_200_000_000)
    '2 hours ago'
    """
    return f"{span_text((now - micros(instant)) / 1_000_000)} ago"


def hours_after(instant: str, hours: float) -> int:
    """Return the microseconds since 1970 UTC of an instant some hours after another.

    >>> hours_after("1970-01-01T00:00:00Z", 0.5)
    1800000000
    """
    return micros(instant) + round(hours * _HOUR * 1_000_000)


def due_text(due: int, now: int) -> str:
    """Return how much time is left, or by how much it is missed; both in microseconds.

    >>> due_text(7_200_000_000, now=0), due_text(0, now=180_000_000)
    ('due in 2 hours', 'overdue by 3 minutes')
    """
    seconds = (due - now) / 1_000_000
    return f"due in {span_text(seconds)}" if seconds >= 0 else f"overdue by {span_text(-seconds)}"


def shown(text: str) -> str:
    r"""Return a name from outside with its invisible letters made visible.

    Two ids that differ by a right-to-left mark must not look alike, and none may turn the page
    around.

    >>> shown("L-1\u202e\x00")
    'L-1⟨202E⟩⟨0000⟩'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"⟨{ord(letter):04X}⟩" for letter in text)


def concept_text(concept: str) -> str:
    """Return a concept as a heading, for reasons that were not told when the lead was scored."""
    return title(concept)
