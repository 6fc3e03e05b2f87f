"""What sales says to the leads it was handed, by score, source and reason; what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.config import Config
from features.loading.rules import VERDICTS
from features.parts.partitions import Part, Partitions
from features.tables import Tables
from models.cutoff import Cutoff, Estimate
from training.clustered import share_interval
from training.funnel.people import NO_SOURCE, survivors
from training.part_examples import ACCOUNT, WON, label_part

NO_REASON = "no reason given"
OTHERS = "all others"
NOT_SCORED = "not scored before"
MOST_GROUPS = 12
LEAST_TOLD = 20
"Verdicts from which a group is told in a sentence."
SCORE_AGE = pd.Timedelta(days=28)
"An older score says little about what sales was shown."


@dataclass(frozen=True)
class Answers:
    """The verdicts of one group of leads."""

    name: str
    verdicts: int
    shares: dict[str, Estimate]
    "Of the group's verdicts, by verdict."
    main_reason: str | None
    "The reason given most often for a rejection; None: no reason was given."
    main_reason_share: float
    "Of the group's rejections that had a reason; NaN without any."


@dataclass(frozen=True)
class Reason:
    """One reason code of one verdict."""

    verdict: str
    code: str
    verdicts: int
    share: Estimate
    "Of that verdict."


@dataclass(frozen=True)
class Outcome:
    """What became of the leads of one verdict."""

    verdict: str
    verdicts: int
    matured: int
    "Whose horizon since the verdict has passed: only they have a win rate."
    won: int
    win_rate: Estimate | None


@dataclass(frozen=True)
class VerdictOverview:
    """What the report shows of sales' verdicts."""

    horizon_days: int
    total: Answers
    grades: tuple[Answers, ...]
    "By the grade of the newest score on a Monday before the verdict, out of fold or of the test."
    sources: tuple[Answers, ...]
    reasons: tuple[Reason, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def lines(self) -> list[str]:
        """What it means, in sentences."""
        return [*_told(self.total, self.grades), *_told_outcomes(self.outcomes, self.horizon_days)]


def verdict_overview(
    source: Tables | Partitions | None,
    config: Config,
    scored: pd.DataFrame,
    cutoff: Cutoff,
    base_rate: float,
) -> VerdictOverview | None:
    """Return the overview; None where sales' verdicts are not known, as in a flat export.

    `scored`: rows of `ScoredWeeks.scored` of all weeks with a score that had not seen the outcome.
    """
    if source is None:
        return None
    answers = [answers_in(part, config) for part in Partitions.of(source)]
    if not (given := [answer for answer in answers if len(answer)]):
        return None
    answered = pd.concat(given)
    answered = answered.sort_values(["decided_at", "lead_id"], ignore_index=True)
    answered["grade"] = _grades(answered, scored, cutoff, base_rate)
    return VerdictOverview(
        horizon_days=config.training.horizon_days,
        total=_answers("all", answered),
        grades=tuple(_by(answered, "grade", sorted(answered["grade"].unique(), key=_place))),
        sources=tuple(_by(answered, "source", _most(answered["source"]))),
        reasons=tuple(_reasons(answered)),
        outcomes=tuple(_outcomes(answered)),
    )


ANSWER_COLUMNS = ("lead_id", "verdict", "reason_code", "decided_at", "source", "account", "won")


def answers_in(part: Part, config: Config) -> pd.DataFrame:
    """Return a row per verdict: sales' last word to each MQL of a lead.

    Columns lead_id (as sales knew it), verdict, reason_code, decided_at, source (of the lead, the
    first recorded), account (component), won: 1.0 or 0.0 closed-won within the horizon since, NaN
    where that is not known yet. Without a table of verdicts the stages stand for them: sal for
    accepted; disqualified for rejected and recycled where the lead was an MQL before.
    """
    tables = part.tables
    given = tables.verdicts if "verdicts" in tables.present else _from_stages(tables)
    given = given[given["lead_id"].isin(tables.leads["lead_id"])]
    if given.empty:
        return pd.DataFrame(columns=list(ANSWER_COLUMNS))
    given = _last_words(given, tables.stage_changes)
    survivor = survivors(tables)
    index = pd.DataFrame(
        {
            "lead_id": survivor.loc[given["lead_id"]].array,
            "as_of": given["decided_at"].array,
            "is_eligible": True,
        }
    )
    labelled = label_part(part, index, config)
    sources = tables.leads.groupby("lead_id")["source"].first()
    return given.assign(
        source=sources.loc[given["lead_id"]].fillna(NO_SOURCE).array,
        account=labelled[ACCOUNT].array,
        won=labelled[WON].array,
    )


def _from_stages(tables: Tables) -> pd.DataFrame:
    changes = tables.stage_changes
    answer = changes["stage"].map({"sal": "accepted", "disqualified": "rejected",
                                   "recycled": "recycled"})  # fmt: skip
    handed = changes[changes["stage"] == "mql"].groupby("lead_id")["changed_at"].min()
    # not `map`: it fails for no dates at all
    handed_at = handed.reindex(changes["lead_id"]).set_axis(changes.index)
    is_after = changes["changed_at"] >= handed_at
    return changes.assign(verdict=answer, decided_at=changes["changed_at"])[
        answer.notna() & is_after
    ]


def _last_words(given: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    """Return the last verdict on each MQL: a later one corrects the one before."""
    handed = changes.loc[changes["stage"] == "mql", ["lead_id", "changed_at"]]
    handed = handed.rename(columns={"changed_at": "mql_at"}).sort_values("mql_at", kind="stable")
    given = given[["lead_id", "verdict", "reason_code", "decided_at"]]
    given = given.sort_values("decided_at", kind="stable")
    about = pd.merge_asof(
        given, handed, left_on="decided_at", right_on="mql_at", by="lead_id", direction="backward"
    )
    return about.drop_duplicates(["lead_id", "mql_at"], keep="last").drop(columns="mql_at")


def _grades(
    answered: pd.DataFrame, scored: pd.DataFrame, cutoff: Cutoff, base_rate: float
) -> np.ndarray:
    """Return the grade of each lead's newest score before its verdict."""
    grade = cutoff.grades(scored["probability"], base_rate, cutoff.values_for(scored))
    rows = scored[["lead_id", "as_of"]].assign(grade=grade).sort_values("as_of", kind="stable")
    found = pd.merge_asof(
        answered[["lead_id", "decided_at"]], rows,
        left_on="decided_at", right_on="as_of", by="lead_id",
        allow_exact_matches=False, tolerance=SCORE_AGE,
    )  # fmt: skip
    return found["grade"].fillna(NOT_SCORED).to_numpy(object)


def _place(grade: str) -> tuple[bool, str]:
    return grade == NOT_SCORED, grade


def _most(names: pd.Series) -> list[str]:
    counts = names.value_counts()
    return sorted(counts.index, key=lambda name: (-counts[name], name))[:MOST_GROUPS]


def _by(answered: pd.DataFrame, column: str, names: list[str]) -> Iterator[Answers]:
    for name in names:
        yield _answers(str(name), answered[answered[column] == name])
    rest = answered[~answered[column].isin(names)]
    if len(rest):
        yield _answers(OTHERS, rest)


def _answers(name: str, rows: pd.DataFrame) -> Answers:
    reasons = rows.loc[rows["verdict"] == "rejected", "reason_code"].dropna()
    counts = reasons.value_counts()
    top = _most(reasons)[:1]
    return Answers(
        name=name,
        verdicts=len(rows),
        shares={verdict: _share(rows, rows["verdict"] == verdict) for verdict in VERDICTS},
        main_reason=top[0] if top else None,
        main_reason_share=float(counts[top[0]] / len(reasons)) if top else float("nan"),
    )


def _share(rows: pd.DataFrame, is_hit: pd.Series) -> Estimate:
    hits = is_hit.to_numpy(bool)
    low, high = share_interval(rows["account"].to_numpy(), hits)
    return Estimate(float(hits.mean()), low, high)


def _reasons(answered: pd.DataFrame) -> Iterator[Reason]:
    for verdict in VERDICTS:
        own = answered[answered["verdict"] == verdict]
        code = own["reason_code"].fillna(NO_REASON)
        if not len(own) or (code == NO_REASON).all():
            continue
        code = code.where(code.isin(_most(code)), OTHERS)
        for name in _most(code):
            is_hit = code == name
            yield Reason(verdict, name, int(is_hit.sum()), _share(own, is_hit))


def _outcomes(answered: pd.DataFrame) -> Iterator[Outcome]:
    for verdict in VERDICTS:
        own = answered[answered["verdict"] == verdict]
        matured = own[own["won"].notna()]
        rate = _share(matured, matured["won"] > 0) if len(matured) else None
        if len(own):
            yield Outcome(verdict, len(own), len(matured), int(matured["won"].sum()), rate)


def _told(total: Answers, grades: tuple[Answers, ...]) -> Iterator[str]:
    shares = ", ".join(
        f"{verdict} {found.value:.0%}" for verdict, found in total.shares.items() if found.value
    )
    yield f"Sales answered {total.verdicts:,} MQLs: {shares}."
    for answers in grades:
        refused = answers.shares["rejected"]
        if answers.name == NOT_SCORED or answers.verdicts < LEAST_TOLD or not refused.value:
            continue
        why = ""
        if answers.main_reason is not None:
            reason = answers.main_reason.replace("_", " ")
            why = (
                f", most often for {reason} ({answers.main_reason_share:.0%} of the reasons given)"
            )
        yield (
            f"Sales rejects {refused.value:.0%} ({refused.low:.0%} to {refused.high:.0%}) of "
            f"{answers.name} leads{why}."
        )


def _told_outcomes(outcomes: tuple[Outcome, ...], horizon_days: int) -> Iterator[str]:
    rates = {
        outcome.verdict: outcome.win_rate
        for outcome in outcomes
        if outcome.win_rate is not None and outcome.matured >= LEAST_TOLD
    }
    if not {"accepted", "rejected"} <= rates.keys():
        return
    accepted, rejected = rates["accepted"], rates["rejected"]
    assert None not in (accepted.low, accepted.high, rejected.low, rejected.high)
    told = (
        f"Of the accepted {accepted.value:.0%} ({accepted.low:.0%} to {accepted.high:.0%}) closed "
        f"within {horizon_days} days, of the rejected {rejected.value:.0%} ({rejected.low:.0%} to "
        f"{rejected.high:.0%})"
    )
    if accepted.low > rejected.high:  # type: ignore[operator]  # neither is None
        yield f"{told}: sales tells them apart, or the work on the accepted ones pays."
    elif accepted.high < rejected.low:  # type: ignore[operator]  # neither is None
        yield f"{told}: the rejected close more often, so look at why they are turned away."
    else:
        yield f"{told}: the verdict does not say who closes, as far as these numbers can tell."
