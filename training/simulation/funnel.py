"""The demo CRM's laws: hidden buying stages, fit tiers, event rates, delays and the calendar.

One Markov chain per account (or per free-mail lead) steps every Monday 00:00 UTC. Everything the
exact probabilities of `training.simulation.truth` need is in a `Funnel`; nothing here is random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HORIZON_WEEKS = 13
WEEK_US = 7 * 86_400_000_000
DAY_US = 86_400_000_000
HISTORY_END_US = int(np.datetime64("2026-01-05T00:00:00", "us").astype(np.int64))
"A Monday; the demo never looks at the clock."

STAGES = ("dormant", "awareness", "consideration", "decision", "open", "lost", "won")
DORMANT, AWARENESS, CONSIDERATION, DECISION, OPEN, LOST, WON = range(7)

ROLES = ("champion", "decision_maker", "user", "other", "unknown")
ROLE_SHARES = np.array([0.26, 0.18, 0.26, 0.15, 0.15])
LISTED = np.array([0.9, 0.85, 0.7, 0.6, 0.6])
"Chance that an opportunity lists a lead of this role; the primary contact is always listed."

# Weekly events of a lead with role factor 1, by stage.
EVENT_RATES: dict[str, tuple[float, ...]] = {  # dormant to won, in the order of STAGES
    "page_view": (0.070, 0.60, 1.30, 2.10, 1.50, 0.080, 0.40),
    "pricing_view": (0.002, 0.03, 0.25, 0.85, 0.45, 0.003, 0.03),
    "case_study_view": (0.004, 0.05, 0.22, 0.32, 0.15, 0.005, 0.02),
    "email_open": (0.120, 0.55, 0.70, 0.80, 0.70, 0.100, 0.40),
    "email_click": (0.009, 0.13, 0.26, 0.34, 0.24, 0.008, 0.08),
    "content_download": (0.005, 0.10, 0.28, 0.20, 0.08, 0.005, 0.02),
    "webinar_attended": (0.003, 0.06, 0.14, 0.09, 0.05, 0.003, 0.04),
    "event_attended": (0.001, 0.014, 0.035, 0.045, 0.03, 0.002, 0.02),
    "chat": (0.001, 0.010, 0.06, 0.17, 0.10, 0.002, 0.04),
    "call_answered": (0.003, 0.016, 0.06, 0.20, 0.40, 0.010, 0.06),
    "demo_request": (0.0003, 0.004, 0.030, 0.20, 0.04, 0.0004, 0.001),
    "trial_started": (0.0003, 0.004, 0.035, 0.13, 0.04, 0.0004, 0.001),
    "trial_active": (0.001, 0.010, 0.12, 0.95, 0.70, 0.002, 0.01),
    "unsubscribed": (0.005, 0.003, 0.0015, 0.001, 0.001, 0.010, 0.002),
}
EVENT_TYPES = tuple(EVENT_RATES)
LATE_TYPES = ("webinar_attended", "event_attended")
"Attendance lists: imported up to 14 days later. All else is recorded when it happens."

SOURCES = ("website", "paid_search", "webinar", "event", "referral", "outbound")
SOURCE_SHARES = np.array([0.32, 0.2, 0.14, 0.08, 0.08, 0.18])
# Stage of the account in the week of its first lead, by that lead's source.
_FIRST_STAGE = np.array(
    [  # dormant, awareness, consideration, decision
        [0.30, 0.46, 0.18, 0.06],
        [0.34, 0.46, 0.16, 0.04],
        [0.30, 0.52, 0.16, 0.02],
        [0.45, 0.45, 0.09, 0.01],
        [0.15, 0.40, 0.30, 0.15],
        [0.75, 0.21, 0.03, 0.01],
    ]
)

INDUSTRIES = (
    "software",
    "manufacturing",
    "finance",
    "healthcare",
    "retail",
    "education",
    "media",
    "logistics",
)
INDUSTRY_SHARES = np.array([0.22, 0.18, 0.12, 0.12, 0.14, 0.08, 0.07, 0.07])
_INDUSTRY_FIT = np.array([2, 1, 2, 0, 0, -1, 1, 0])
BANDS = ((2, 49), (50, 249), (250, 999), (1000, 20_000))
"Employees, first and last of each band."
BAND_SHARES = np.array([0.35, 0.33, 0.2, 0.12])
_BAND_FIT = np.array([-1, 1, 2, 1])
TECHNOLOGIES = ("salesforce", "hubspot", "dynamics", "none")
_TECHNOLOGY_SHARES = np.array(
    [  # by industry
        [0.45, 0.35, 0.10, 0.10],
        [0.25, 0.15, 0.40, 0.20],
        [0.45, 0.15, 0.25, 0.15],
        [0.25, 0.25, 0.20, 0.30],
        [0.20, 0.35, 0.15, 0.30],
        [0.10, 0.30, 0.15, 0.45],
        [0.25, 0.45, 0.10, 0.20],
        [0.20, 0.20, 0.35, 0.25],
    ]
)
FREE_MAIL_TIER = 4
TIER_SPEED = np.array([0.7, 0.9, 1.1, 1.3, 0.65])
"What a fit tier multiplies forward rates by; the last is free mail."
PACKS_MEAN = np.array([1.0, 2.5, 5.0, 10.0, 0.5])
"Licence packs of an opportunity beyond the first, by tier (Poisson)."
PACK_PRICE = 1_200.0

# Weekly chances of leaving a stage. The forward ones are moved by tier, season, drift, handoff.
_FORWARD = (
    (DORMANT, AWARENESS, 0.03),
    (AWARENESS, CONSIDERATION, 0.07),
    (CONSIDERATION, DECISION, 0.12),
    (DECISION, OPEN, 0.2),
    (OPEN, WON, 0.09),
)
_BACKWARD = (
    (AWARENESS, DORMANT, 0.05),
    (CONSIDERATION, AWARENESS, 0.06),
    (CONSIDERATION, DORMANT, 0.02),
    (DECISION, CONSIDERATION, 0.07),
    (DECISION, DORMANT, 0.03),
    (OPEN, LOST, 0.08),
    (LOST, AWARENESS, 0.03),
)


@dataclass(frozen=True)
class Funnel:
    """The numbers that generate the demo and that its exact probabilities need.

    Axes: week, tier, handed over or not, stage (from, to), role, event type.
    """

    weeks: int
    transition: Floats
    "(weeks + horizon, tier, handed, from, to): the step into week k."
    first_stage: Floats
    "(source, stage)"
    event_rate: Floats
    "(weeks, stage, type)"
    role_factor: Floats
    "(role, type)"
    activity: Floats
    "(weeks,): how busy the calendar week is."
    hour_share: Floats
    "(169,): cumulative share of a week's events by hour of the week."
    delay_share: Floats
    "(15,): chance that a late type is recorded so many days later."
    is_late: Bools
    "(type,)"
    tier_share: Floats
    "(industry, band, technology, tier), each with a last entry for a missing field."
    listed: Floats
    "(role,)"
    packs_mean: Floats
    "(tier,)"

    @property
    def mondays(self) -> Ints:
        """Starts of the weeks and the end of the last one, microseconds since 1970 (weeks + 1,)."""
        back: Ints = np.arange(self.weeks, -1, -1, dtype=np.int64)
        return HISTORY_END_US - WEEK_US * back


def make_funnel(weeks: int, drift: bool = False, handoff_effect: float = 1.0) -> Funnel:
    """Return the laws for `weeks` of history that end on 2026-01-05.

    With `drift`, the newest 26 weeks convert at 0.7 of the usual chance and content downloads,
    once a sign of interest, mostly come from the dormant (a syndicated download campaign).
    """
    calendar = _calendar_weeks(weeks + HORIZON_WEEKS, weeks)
    drifted = np.arange(weeks + HORIZON_WEEKS) >= weeks - 2 * HORIZON_WEEKS if drift else None
    rates = np.array(list(EVENT_RATES.values())).T
    event_rate = np.repeat(rates[None], weeks, axis=0)
    if drifted is not None:
        download = EVENT_TYPES.index("content_download")
        event_rate[drifted[:weeks], DORMANT, download] = 0.20
        event_rate[drifted[:weeks], AWARENESS, download] = 0.20
    first_stage = np.zeros((len(SOURCES), len(STAGES)))
    first_stage[:, :OPEN] = _FIRST_STAGE
    return Funnel(
        weeks=weeks,
        transition=_transitions(calendar, drifted, handoff_effect),
        first_stage=first_stage,
        event_rate=event_rate,
        role_factor=_role_factors(),
        activity=_activity(calendar)[:weeks],
        hour_share=_hour_shares(),
        delay_share=_delay_shares(),
        is_late=np.isin(EVENT_TYPES, LATE_TYPES),
        tier_share=_tier_shares(),
        listed=LISTED,
        packs_mean=PACKS_MEAN,
    )


def _calendar_weeks(count: int, weeks: int) -> Ints:
    """Return the week of the year, 0-51, of each week of history and of the horizon after it."""
    mondays = HISTORY_END_US + WEEK_US * (np.arange(count, dtype=np.int64) - weeks)
    days = mondays.astype("datetime64[us]").astype("datetime64[D]")
    of_year = (days - days.astype("datetime64[Y]")).astype(np.int64)
    weeks_of_year: Ints = np.minimum(of_year // 7, 51)
    return weeks_of_year


def _activity(calendar: Ints) -> Floats:
    """Return how busy each week is: quiet in August and around the turn of the year."""
    activity = np.ones(len(calendar))
    activity[(calendar >= 30) & (calendar <= 33)] = 0.8
    activity[(calendar >= 50) | (calendar == 0)] = 0.6
    return activity


def _transitions(calendar: Ints, drifted: Bools | None, handoff_effect: float) -> Floats:
    """Return the step into each week: (week, tier, handed, from, to), rows sum to 1."""
    season = 0.5 + 0.5 * _activity(calendar)
    # Deals close at the end of a quarter. 13 weeks hold one quarter's end, wherever they start.
    close_season = np.where(calendar % 13 >= 11, 1.6, 0.9)
    conversion = np.ones(len(calendar)) if drifted is None else np.where(drifted, 0.7, 1.0)
    shape = (len(calendar), len(TIER_SPEED), 2, len(STAGES), len(STAGES))
    step = np.zeros(shape)
    speed = TIER_SPEED[:, None] * np.array([1.0, handoff_effect])
    for source, target, chance in _FORWARD:
        # A won deal was qualified before, so fit matters less at the end.
        tier_speed = np.sqrt(speed) if target in (OPEN, WON) else speed
        weekly = (close_season if target == WON else season) * conversion
        step[..., source, target] = np.minimum(chance * weekly[:, None, None] * tier_speed, 0.6)
    for source, target, chance in _BACKWARD:
        step[..., source, target] = chance
    stay = np.arange(len(STAGES))
    step[..., stay, stay] = 1 - step.sum(axis=-1)
    return step


def _role_factors() -> Floats:
    """Return what each role multiplies the event rates by: (role, type)."""
    factors = np.repeat(np.array([[1.15], [0.85], [1.0], [0.9], [0.9]]), len(EVENT_TYPES), axis=1)
    column = {name: place for place, name in enumerate(EVENT_TYPES)}
    factors[ROLES.index("decision_maker"), column["pricing_view"]] = 1.1
    factors[ROLES.index("decision_maker"), column["call_answered"]] = 1.1
    factors[ROLES.index("user"), column["trial_active"]] = 1.4
    factors[ROLES.index("user"), column["pricing_view"]] = 0.8
    factors[:, column["unsubscribed"]] = 1.0
    return factors


def _hour_shares() -> Floats:
    """Return the cumulative share of a week's events by hour: working hours, few at weekends."""
    day = np.ones(24) * 0.15
    day[7:19] = 2.0
    day[9:12] = 3.0
    day[19:22] = 0.8
    week = np.concatenate([day * weight for weight in (1.0, 1.1, 1.1, 1.0, 0.8, 0.15, 0.2)])
    shares = np.concatenate([[0.0], np.cumsum(week / week.sum())])
    shares[-1] = 1.0
    return shares


def _delay_shares() -> Floats:
    """Return the chance of each delay, 0 to 14 days; 0 is recorded at once."""
    parts = np.array([30, 16, 10, 7, 5, 5, 5, 6, 3, 3, 2, 2, 2, 2, 2], dtype=np.float64)
    shares: Floats = parts / parts.sum()
    return shares


def tier_of(industry: Ints, band: Ints) -> Ints:
    """Return the fit tier, 0 (poor) to 3 (best), of industry and employee band codes."""
    fit = _INDUSTRY_FIT[industry] + _BAND_FIT[band]
    tier: Ints = np.searchsorted([1, 2, 4], fit, side="right").astype(np.int64)
    return tier


def technology_share(industry: Ints) -> Floats:
    """Return the chance of each CRM in use, by industry code: (rows, technology)."""
    shares: Floats = _TECHNOLOGY_SHARES[industry]
    return shares


def _tier_shares() -> Floats:
    """Return P(tier | known fields); index -1 stands for a missing field."""
    industry, band = np.indices((len(INDUSTRIES), len(BANDS)))
    joint = (
        INDUSTRY_SHARES[:, None, None]
        * BAND_SHARES[None, :, None]
        * _TECHNOLOGY_SHARES[:, None, :]
    )  # fmt: skip
    by_tier = joint[..., None] * np.eye(len(TIER_SPEED))[tier_of(industry, band)][:, :, None, :]
    for axis in range(3):
        missing = by_tier.sum(axis=axis, keepdims=True)
        by_tier = np.concatenate([by_tier, missing], axis=axis)
    shares: Floats = by_tier / by_tier.sum(axis=-1, keepdims=True)
    return shares
