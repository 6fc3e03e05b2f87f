"""`closedwon check`: load, data quality and leakage audit, without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.config import Config
from features.errors import InputError
from features.loading.flat import load_flat
from features.loading.load_report import LoadReport
from features.loading.sources import REQUIRED
from features.parts.partitions import Partitions, load_partitions
from features.quality.quality import Quality, quality_of, quality_of_flat
from training.audit.audit import audit_examples
from training.audit.findings import Audit
from training.examples import Examples, examples_from_flat, examples_from_tables
from training.report.data_section import data_section
from training.report.pages import write_page
from training.steps import Steps

PAGE = Path(".closedwon") / "check.html"
FEWEST_WINS = 10
"Fewer won leads, or fewer others, cannot tell a leak from chance."


@dataclass(frozen=True)
class Checked:
    """What `closedwon check` found."""

    load: LoadReport
    quality: Quality
    audit: Audit | None
    audit_missing: str
    "Why there is no audit; empty if there is one."
    rejects: list[Path]
    missing_to_train: list[str]
    "Tables that training needs and the user lacks."

    def summary(self) -> str:
        """Return the outcome in a sentence or two."""
        if self.audit is None:
            audited = f"No leakage audit: {self.audit_missing}"
        else:
            blocked = len(self.audit.blocked())
            others = len(self.audit.findings) - blocked
            audited = (
                f"Leakage audit of {_counted(self.audit.columns, 'column')}: {blocked} blocked,"
                f" {others} to look at."
            )
        warnings = self.quality.warnings
        notes = len(self.quality.findings) - warnings
        return (
            f"{audited} Data quality: {_counted(warnings, 'warning')}, {_counted(notes, 'note')}."
        )

    def lines(self) -> list[str]:
        """Return everything as text, the worst first."""
        lines = [self.summary()]
        if self.audit is not None and (self.audit.findings or self.audit.notes):
            lines += ["", "Leakage audit", *_indented(self.audit.lines())]
        if self.quality.findings or self.quality.not_computed:
            lines += ["", "Data quality", *_indented(self.quality.lines())]
        lines += ["", "Loaded", *_indented(self.load.lines()), ""]
        rejects = ", ".join(str(path) for path in self.rejects)
        lines.append(f"Rows set aside are in {rejects}." if rejects else "No row was set aside.")
        if self.missing_to_train:
            missing = " or ".join(self.missing_to_train)
            lines.append(f"There is no table {missing} yet: training needs it.")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON; `audit` is null if it was not run."""
        return {
            **self.load.as_dict(),
            "rejects": [str(path) for path in self.rejects],
            "missing_to_train": self.missing_to_train,
            "quality": self.quality.as_dict(),
            "audit": None if self.audit is None else self.audit.as_dict(),
            "audit_missing": self.audit_missing or None,
        }


def check_sources(config: Config, folder: Path, rejects_folder: Path, steps: Steps) -> Checked:
    """Return what there is to say about the data before a training.

    Raises InputError where the sources cannot be loaded. What cannot be audited yet, for want of
    outcomes for instance, is no error.
    """
    with steps("load"):
        if config.flat is not None:
            export = load_flat(config, folder, labels_needed=False, rejects_folder=rejects_folder)
            partitions, tables, report = None, None, export.report
        else:
            export, local = None, rejects_folder.parent
            loaded = load_partitions(
                config, folder, local, required=("leads",), rejects_folder=rejects_folder
            )
            partitions, report = loaded.partitions, loaded.report
            tables = partitions.overview()
    with steps("data quality"):
        if export is not None:
            quality = quality_of_flat(export, config)
        else:
            assert tables is not None
            quality = quality_of(tables, config, report)
    missing = [] if tables is None else [name for name in REQUIRED if name not in tables.present]
    audit, why = None, _no_outcomes(config, missing)
    if not why:
        with steps("snapshots"):
            try:
                examples = (
                    examples_from_flat(export, config)
                    if export is not None
                    else examples_from_tables(_there(partitions), config)
                )
                why = _too_few(examples)
            except InputError as error:  # nothing is matured, say: no mistake of this command
                why = str(error)
    if not why:
        with steps("audit"):
            audit = audit_examples(examples, tables, config, partitions=partitions)
    return Checked(report, quality, audit, why, report.rejects_files(rejects_folder), missing)


def write_check_page(checked: Checked, page: Path) -> Path:
    """Write what was found as one self-contained HTML page; return its path."""
    data = data_section(checked.load, checked.quality, checked.audit, checked.audit_missing)
    return write_page("check.html.j2", {"summary": checked.summary(), "data": data}, page)


def _there(found: Partitions | None) -> Partitions:
    assert found is not None  # a flat export has none
    return found


def _no_outcomes(config: Config, missing: list[str]) -> str:
    """Return why there are no labels, empty if there are."""
    flat = config.flat
    if flat is not None and flat.label is None and flat.won_at is None:
        return "[flat] names neither label nor won_at, so nobody knows who was won."
    if missing:
        return f"there is no table {' or '.join(missing)}, so nobody knows who was won."
    return ""


def _too_few(examples: Examples) -> str:
    """Return why the labels are too few to audit anything by, empty if they are enough."""
    everything = np.ones(len(examples.won), dtype=bool)
    won = examples.won_leads(everything)
    others = int(examples.snapshots["lead_id"].nunique()) - won
    if won < FEWEST_WINS:
        return f"of the leads old enough {won} were won; {FEWEST_WINS} are needed."
    if others < FEWEST_WINS:
        return f"of the leads old enough all but {others} were won; {FEWEST_WINS} are needed."
    return ""


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
