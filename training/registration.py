"""The end of a run: report, bundle, MLflow; the registered model is its last act."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.config import Config
from models.bundle import checking_bundle
from models.registry import GATE_TAG
from training.candidate import Candidate, Prepared, config_digest, write_candidate
from training.comparison.store import EVALUATION, StoredWeeks, write_weeks
from training.drift import drift_of
from training.evaluation import Evaluation
from training.facts import is_skilled
from training.report.monitor_section import latest_section
from training.report.report import write_report
from training.steps import Steps
from training.tracking import Registered, log_training

if TYPE_CHECKING:
    from training.gate.gate import Verdict

LOCAL = Path(".closedwon")
REPORT = LOCAL / "report.html"
GATE_FILE = "gate.json"
"Artifact of the run: the gate's verdict."


def register(
    candidate: Candidate,
    prepared: Prepared,
    root: Path,
    steps: Steps,
    verdict: Verdict | None = None,
    tags: Mapping[str, str] | None = None,
    run_name: str = "train",
    told: Mapping[str, Any] | None = None,
) -> tuple[Registered, Path]:
    """Write report and bundle, log the run, register the model; return that and the report's path.

    `verdict` is the gate's, None without a champion; `tags` are further tags of the version, `told`
    is what the run keeps beside it, JSON by file name. The report takes its place only after the
    registration: a run that ends before leaves the report of the last registered model.

    The bundle is checked in a child while the report is drawn and the run logged; nothing is
    registered before its outcome is known.
    """
    local = root / LOCAL
    local.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=f".{run_name}-", dir=local) as aside,
        _checking(candidate, prepared, Path(aside) / "bundle", steps) as outcome,
    ):
        with steps("report"):
            page = _report(candidate, prepared, Path(aside), root, verdict)
        with steps("register"):
            kept = [_written(page.with_name(name), what) for name, what in (told or {}).items()]
            registered = _log(
                candidate, prepared, root, page, verdict, kept, tags or {}, run_name, outcome
            )
        return registered, page.replace(root / REPORT)


@contextmanager
def _checking(
    candidate: Candidate, prepared: Prepared, bundle: Path, steps: Steps
) -> Iterator[Callable[[], None]]:
    """Write the bundle and give what waits for the outcome of its check, a step of its own."""
    with steps("bundle"):
        write_candidate(candidate, prepared, bundle)
    with checking_bundle(bundle) as outcome:

        def checked() -> None:
            with steps("check"):
                outcome()

        yield checked


def _report(
    candidate: Candidate, prepared: Prepared, folder: Path, root: Path, verdict: Verdict | None
) -> Path:
    return write_report(
        candidate.evaluation,
        candidate.scorer,
        prepared.loaded.report,
        folder / REPORT.name,
        prepared.quality,
        prepared.audit,
        candidate.against,
        candidate.funnel,
        drift_of(prepared.examples, prepared.split),
        verdict,
        candidate.verdicts,
        None if verdict is None else latest_section(root, verdict.champion_version),
    )


def _log(
    candidate: Candidate,
    prepared: Prepared,
    root: Path,
    page: Path,
    verdict: Verdict | None,
    kept: Sequence[Path],
    tags: Mapping[str, str],
    run_name: str,
    checked: Callable[[], None],
) -> Registered:
    evaluation, config = candidate.evaluation, prepared.config
    bundle, weeks = page.parent / "bundle", page.parent / EVALUATION
    write_weeks(StoredWeeks(evaluation.past_weeks, evaluation.test_weeks, evaluation.cutoff), weeks)
    artifacts = [page, weeks, *kept]
    if verdict is not None:
        tags = {**tags, GATE_TAG: _gate_tag(verdict)}
        artifacts.append(_written(page.with_name(GATE_FILE), verdict.as_dict()))
    return log_training(
        config.tracking,
        root,
        run_name=run_name,
        params=_params(candidate, config),
        metrics=_metrics(evaluation),
        digests={**prepared.loaded.digests, "config": config_digest(config)},
        artifacts=artifacts,
        bundle=bundle,
        may_be_champion=is_skilled(evaluation),
        tags=tags,
        checked=checked,
    )


def _written(path: Path, told: Any) -> Path:
    path.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def _gate_tag(verdict: Verdict) -> str:
    told = {
        "decision": verdict.decision,
        "champion": verdict.champion_version,
        "champion_digest": verdict.champion_digest,
    }
    return json.dumps(told, sort_keys=True)


def _metrics(evaluation: Evaluation) -> dict[str, Any]:
    metrics = {f"test_{name}": found for name, found in evaluation.metrics.items()}
    metrics |= {f"replay_{name}": found for name, found in evaluation.replayed.items()}
    return {**metrics, "test_skill": evaluation.skill}


def _params(candidate: Candidate, config: Config) -> dict[str, Any]:
    evaluation, scorer = candidate.evaluation, candidate.scorer
    chosen = {
        **evaluation.choices.parameters,
        "kind": candidate.kind,
        "trees": scorer.facts["trees"],
        "half_life_days": scorer.facts["half_life_days"],
        "calibration_half_life_days": scorer.facts["calibration_half_life_days"],
        "cutoff": evaluation.cutoff.value,
    }
    settings = config.model_dump(mode="json", exclude={"databases", "tables", "flat"})
    flat = {
        f"{section}.{name}": json.dumps(value) if isinstance(value, list) else value
        for section, values in settings.items()
        for name, value in values.items()
    }
    return {**flat, **chosen}
