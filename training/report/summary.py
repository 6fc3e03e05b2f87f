"""What a training found, in the few lines a person reads first."""

from __future__ import annotations

from typing import Any

from models.cutoff import cutoff_text
from training.comparison.record import wrapped
from training.evaluation import Evaluation
from training.recipe import Training
from training.report.report import backlog, told


def summary_lines(trained: Training) -> list[str]:
    """Return the main figures of a training as lines for a terminal."""
    evaluation, facts = trained.evaluation, trained.facts
    registered = trained.registered
    metrics = {name: told(name, found) for name, found in evaluation.metrics.items()}
    single = next(name for name in evaluation.baselines if name.startswith("best_feature"))
    against = {
        "logistic regression": evaluation.baselines["logistic_regression"]["auc"].value,
        single.replace("_", " "): evaluation.baselines[single]["auc"].value,
    }
    lines = [
        f"Version {registered.model_version} is the {registered.alias}: the chance that a lead "
        f"{facts['outcome']},",
        f"learnt from {facts['wins']['all']:,} won leads in {facts['rows']['all']:,} snapshots.",
        "",
        f"On {facts['rows']['test']:,} test snapshots it had never seen ({_span(facts['test'])}), "
        "with 90% intervals:",
        f"  AUC                {metrics['auc']}; "
        + ", ".join(f"{name} {value:.3f}" for name, value in against.items()),
        f"  calibration error  {metrics['calibration_error']}",
        f"  wins in top 10%    {metrics['capture_10']}",
        f"  log-loss skill     {told('skill', evaluation.skill)} over the base rate",
        "",
    ]
    lines += _cutoff_lines(trained)
    if trained.against is not None:
        verdict = trained.against.record["sentences"]["verdict"]
        lines += ["", *wrapped(f"Against the rules: {verdict}")]
    if trained.verdict is not None:
        lines += ["", *trained.verdict.lines()]
    warnings = [*facts["warnings"], *trained.notes]
    lines += [line for warning in warnings for line in wrapped(f"Mind: {warning}")]
    lines += ["", f"Report: {trained.report}", f"MLflow run: {registered.run_id}"]
    if trained.rejects:
        lines.append(f"Rows set aside: {', '.join(str(path) for path in trained.rejects)}")
    return lines


def _cutoff_lines(trained: Training) -> list[str]:
    cutoff, evaluation = trained.scorer.cutoff, trained.evaluation
    if cutoff.qualifies_nobody:
        return [f"No cutoff: {cutoff.reason} Nobody is marked as an MQL."]
    replayed = dict.fromkeys(("precision", "capture", "lead_time_days"), "-")
    replayed |= {name: told(name, found) for name, found in evaluation.replayed.items()}
    volume = replayed.get("mqls_per_week", replayed.get("mqls", "-"))
    title = "MQLs a week" if "mqls_per_week" in replayed else "MQLs"
    lines = [
        f"MQL {cutoff_text(cutoff)}. {cutoff.reason}",
        *(
            [f"To expect in the weeks after: {told('mqls_per_week', cutoff.forecast)} a week."]
            if cutoff.forecast
            else []
        ),
        f"On the test {'weeks' if 'mqls_per_week' in replayed else 'leads'} that would have been:",
        f"  {title:<18} {volume}{_waiting(evaluation)}",
        f"  precision          {replayed['precision']} of them closed",
        f"  capture            {replayed['capture']} of the wins{_in_time(trained.facts)}",
    ]
    if replayed["lead_time_days"] != "-":
        lines.append(f"  lead time          {replayed['lead_time_days']} days from MQL to win")
    return lines


def _waiting(evaluation: Evaluation) -> str:
    if not evaluation.replay.is_dated:
        return f" of {evaluation.replay.scored['lead_id'].nunique():,} leads"
    return f" (and {backlog(evaluation):,} in the backlog at the start)"


def _in_time(facts: dict[str, Any]) -> str:
    # a flat export knows wins, but not when their deals were opened
    return "" if facts["is_flat"] else ", before their deal was opened"


def _span(test: dict[str, str | None]) -> str:
    return "accounts kept apart" if test["from"] is None else f"{test['from']} to {test['until']}"
