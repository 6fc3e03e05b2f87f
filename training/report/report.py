"""The report: one self-contained HTML page, first for marketing, then for data scientists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.loading.load_report import LoadReport
from features.quality.quality import Quality
from models.cutoff import Estimate
from models.reasons import reasons
from models.scorer import Scorer
from training.audit.findings import Audit
from training.comparison.against_rules import AgainstRules
from training.cutoffs.cutoff import cutoff_curve
from training.drift import Drift
from training.evaluation import Evaluation
from training.funnel.overview import FunnelOverview
from training.replay import decided
from training.report import charts
from training.report.comparison_section import comparison_section
from training.report.data_section import data_section
from training.report.funnel_section import funnel_section
from training.report.gate_section import gate_section
from training.report.pages import write_page
from training.report.verdicts_section import verdicts_section
from training.segments import segment_rates, segments_sentence
from training.verdicts.verdicts import SalesVerdicts

if TYPE_CHECKING:
    from training.gate.gate import Verdict

FIGURE_NAMES = {
    "mqls_per_week": "MQLs a week",
    "mqls": "MQLs",
    "precision": "precision",
    "capture": "capture",
    "lead_time_days": "days from MQL to win",
    "value_per_week": "earned a week after contact costs",
}
DRIFT_TOLD = 12
METRIC_NAMES = {
    "log_loss": "Log loss",
    "brier": "Brier score",
    "auc": "AUC",
    "average_precision": "Average precision",
    "calibration_error": "Calibration error",
    "lift_5": "Lift, top 5%",
    "lift_10": "Lift, top 10%",
    "lift_20": "Lift, top 20%",
    "capture_5": "Wins in the top 5%",
    "capture_10": "Wins in the top 10%",
    "capture_20": "Wins in the top 20%",
}


def write_report(
    evaluation: Evaluation,
    scorer: Scorer,
    loaded: LoadReport,
    page: Path,
    quality: Quality | None = None,
    audit: Audit | None = None,
    against: AgainstRules | None = None,
    funnel: FunnelOverview | None = None,
    drift: Sequence[Drift] = (),
    verdict: Verdict | None = None,
    verdicts: SalesVerdicts | None = None,
    watch: dict[str, Any] | None = None,
) -> Path:
    """Write the report to `page`, aside and then renamed, and return its path."""
    sections = {
        "data": data_section(loaded, quality, audit, undated=scorer.catalogue.undated),
        "comparison": comparison_section(None)
        if against is None
        else comparison_section(against.comparison, against.examples),
        "funnel": None if funnel is None else funnel_section(funnel),
        "gate": None if verdict is None else gate_section(verdict),
        "verdicts": None if verdicts is None else verdicts_section(verdicts),
        "watch": watch,
    }
    content = {**_content(evaluation, scorer), **_by_segment(evaluation), **_drift(drift)}
    return write_page("report.html.j2", {**content, **sections}, page)


def _content(evaluation: Evaluation, scorer: Scorer) -> dict[str, Any]:
    import markupsafe

    explained = reasons(scorer, evaluation.explained, num_threads=2)
    cutoff = scorer.cutoff
    pictures = {
        "reliability": charts.reliability(evaluation.test),
        "lift": charts.lift(evaluation.test),
        "distribution": charts.distribution(evaluation.test, cutoff),
        "captured": charts.captured(evaluation.test),
        "weeks": charts.replayed_weeks(evaluation.replay, cutoff)
        if evaluation.replay.is_dated and not cutoff.qualifies_nobody
        else None,
        "cutoffs": charts.cutoffs(cutoff_curve(evaluation.past), evaluation.past.weeks, cutoff),
        "reasons": charts.global_reasons(explained),
    }
    return {
        "facts": scorer.facts,
        "promised_names": FIGURE_NAMES,
        "base_rate": f"{scorer.base_rate:.1%}",
        "cutoff": cutoff,
        "promised": {name: told(name, found) for name, found in cutoff.evidence.items()},
        "forecast": None if cutoff.forecast is None else told("mqls_per_week", cutoff.forecast),
        "replayed": {
            **dict.fromkeys(
                ("mqls_per_week", "mqls", "precision", "capture", "lead_time_days"), "-"
            ),
            **{name: told(name, found) for name, found in evaluation.replayed.items()},
        },
        "backlog": backlog(evaluation),
        "unscored_wins": int(evaluation.replay.wins["best_before"].isna().sum()),
        "scored_wins": int(evaluation.replay.wins["best_before"].notna().sum()),
        "skill": told("skill", evaluation.skill),
        "metrics": [
            (
                label,
                told(name, evaluation.metrics[name]),
                told(name, evaluation.eligible_metrics[name]),
            )
            for name, label in METRIC_NAMES.items()
        ],
        "baselines": {
            name: {metric: told(metric, found) for metric, found in metrics.items()}
            for name, metrics in evaluation.baselines.items()
        },
        "model_row": {
            metric: told(metric, evaluation.metrics[metric])
            for metric in ("log_loss", "auc", "average_precision")
        },
        "pictures": {
            # our own markup, rendered from numbers and feature names that Vega escapes
            name: markupsafe.Markup(charts.svg(chart)) if chart is not None else None
            for name, chart in pictures.items()
        },
    }


def backlog(evaluation: Evaluation) -> int:
    """Return how many leads were above their cutoff when the test weeks began."""
    if evaluation.cutoff.qualifies_nobody:
        return 0
    replay, number = decided(evaluation.replay, evaluation.cutoff)
    return replay.backlog(number)


def _by_segment(evaluation: Evaluation) -> dict[str, Any]:
    """Return whether the probabilities hold in each segment, attribute by attribute."""
    import markupsafe

    rates = segment_rates(evaluation.test, evaluation.test_segments)
    attributes = []
    for name, of_one in rates.groupby("attribute", sort=False):
        title = str(name).replace("_", " ")
        curves = charts.reliability_of_segments(
            evaluation.test, evaluation.test_segments[str(name)]
        )
        attributes.append(
            {
                "title": title,
                "rates": markupsafe.Markup(
                    charts.svg(charts.segments(of_one), height=24 * len(of_one))
                ),
                "curves": {
                    value: markupsafe.Markup(charts.svg(chart, width=230, height=150))
                    for value, chart in curves.items()
                },
            }
        )
    return {"segments_told": segments_sentence(rates), "segments": attributes}


def _drift(drift: Sequence[Drift]) -> dict[str, Any]:
    rows = [
        {
            "name": found.name.replace("_", " "),
            "family": found.family,
            "psi": f"{found.psi:.2f}",
            "size": found.size,
            "missing": f"{found.missing_before:.0%}, {found.missing_after:.0%}",
        }
        for found in drift
    ]
    return {"drifted": rows[:DRIFT_TOLD], "drifted_further": max(len(rows) - DRIFT_TOLD, 0)}


def told(name: str, found: Estimate) -> str:
    """Return a figure with its interval for people, NaN as a dash.

    >>> told("precision", Estimate(0.25, 0.2, 0.3))
    '25% (20% to 30%)'
    >>> told("auc", Estimate(float("nan"), None, None))
    '-'
    """
    if found.value != found.value:
        return "-"
    text = _number(name, found.value)
    if found.low is None or found.high is None or found.low != found.low:
        return text
    return f"{text} ({_number(name, found.low)} to {_number(name, found.high)})"


def _number(name: str, value: float) -> str:
    if name in ("precision", "capture", "skill") or name.startswith("capture_"):
        return f"{value:.0%}"
    if name in ("mqls_per_week", "lead_time_days", "mqls", "value_per_week"):
        return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    if name.startswith("lift"):
        return f"{value:.1f}"
    return f"{value:.4f}" if name in ("brier", "calibration_error", "log_loss") else f"{value:.3f}"
