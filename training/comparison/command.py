"""`closedwon compare`: the stored comparison, or a new one where the rules are others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.config import Config
from features.errors import InputError
from models.bundle import open_bundle
from models.registry import fetch_bundle
from models.rules import read_rules
from training.comparison.record import comparison_lines, read_record, rules_digest
from training.comparison.store import compare_other_rules
from training.steps import Steps


@dataclass(frozen=True)
class Compared:
    """A comparison as its record, and where it comes from."""

    record: dict[str, Any]
    model_version: str
    rules: str | None
    "The file of the rules; None: those of the bundle."
    is_stored: bool
    "Whether it is the one of the training, or was computed now."

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon compare --json` prints."""
        named = {"model_version": self.model_version, "rules": self.rules}
        return {**named, "is_stored": self.is_stored, **self.record}

    def lines(self) -> list[str]:
        """Return what `closedwon compare` prints."""
        rules = f"the rules of {self.rules}" if self.rules else "the rules it was trained beside"
        left_out = self.record.get("leads_left_out", 0)
        gone = f"{left_out:,} leads are no longer in the data and were left out."
        where = "test weeks" if self.record["is_dated"] else "test leads"
        heading = f"Version {self.model_version} against {rules}, on its {where}."
        return [heading, *([gone] if left_out else []), "", *comparison_lines(self.record)]


def compare_with_rules(
    config: Config, rules: Path | None, data: Path, root: Path, selector: str, steps: Steps
) -> Compared:
    """Return the comparison of a registered model with the points table in `rules`.

    Without `rules`, or with those the training compared with, nothing is computed: the bundle has
    it. With others, the rules alone are scored on the leads and weeks of the evaluation, which
    takes the data. Raises InputError where the version holds nothing to compare on.
    """
    table = None if rules is None else read_rules(rules)
    with steps("model"):
        bundle, version = fetch_bundle(selector, config.tracking, root)
        record = read_record(bundle)
    named = None if rules is None else str(rules)
    if table is None:
        if record is None:
            raise InputError(
                f"Version {version} was trained without rules, and there is no rules.toml beside "
                "the settings. Draft one with closedwon init, or name one with --rules."
            )
        return Compared(record, version, named, is_stored=True)
    if record is not None and record["rules_digest"] == rules_digest(table):
        return Compared(record, version, named, is_stored=True)
    catalogue = open_bundle(bundle).catalogue
    record = compare_other_rules(version, catalogue, table, config, data, root, steps)
    return Compared(record, version, named, is_stored=False)
