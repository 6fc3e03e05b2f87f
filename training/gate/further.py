"""Checks beside the scores: what the audit says of the features, the reasons, speed and size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.errors import InputError
from features.life_config import GateConfig
from models.lead_scores import LeadScorer
from models.scorer import Scorer
from training.audit.audit import is_named, reads
from training.gate.checks import Check
from training.gate.new_columns import HARDLY_READ, concept_sums, spread_of
from training.gate.snapshots import snapshots_by
from training.gate.words import some

if TYPE_CHECKING:
    from training.candidate import Prepared

ROWS_EXPLAINED = 1500
LEADS_TIMED, ROUNDS = 40, 5
SMALL_SECONDS, SMALL_BYTES = 1e-3, 2_000_000
"""Below these, a ratio says nothing that anybody would notice."""


def audit_checks(champion: Scorer, challenger: Scorer, prepared: Prepared) -> list[Check]:
    """Return a failed check for each column with blocking evidence that only the challenger reads.

    A leak makes a model win on held-out rows, so no comparison of scores finds it. Nor does it
    help that the user overruled the audit: a person has to promote such a model, with a reason. A
    column so admitted once, that the champion reads too, is a note from then on. So is what is
    merely flagged.
    """
    checks = []
    for finding in prepared.audit.findings:
        own, old = (
            any(reads(feature, finding.column) for feature in scorer.catalogue.features)
            for scorer in (challenger, champion)
        )
        overruled = is_named(finding.column, prepared.config)  # its evidence would have blocked it
        blocks = finding.level == "block" or overruled
        if not own or (old and not blocks):
            continue
        admitted = old and overruled
        told = f"{finding.column}: {finding.evidence[0].text}"
        checks.append(Check("audit", "fail" if blocks and not admitted else "note", told=told))
    if any(check.result == "fail" for check in checks):
        return checks
    told = "no column that the challenger newly reads knows the outcome, by the evidence"
    return [Check("audit", "pass", told=told), *checks]


def reasons_checks(
    champion: Scorer,
    challenger: Scorer,
    prepared: Prepared,
    gate: GateConfig,
    blocked: Sequence[str] = (),
) -> list[Check]:
    """Return whether the same concepts move the scores of both, on the same test rows.

    In common is what the shares of the mean size of their contributions overlap. Concepts that the
    champion hardly reads and that, taken together, make much of the scores' spread look like a
    leak, or like a feed that broke: the spread, since a leak moves few leads, and far. Only what
    they make more than in the champion counts, since many small concepts are much together.
    Both are notes where the champion reads columns that the audit now blocks (`blocked`): its
    reasons are the leak's.
    """
    test = np.flatnonzero(prepared.split.is_test)
    drawn = np.random.default_rng(0).permutation(len(test))[:ROWS_EXPLAINED]
    rows = np.zeros(len(prepared.split.is_test), dtype=bool)
    rows[test[drawn]] = True
    try:
        old, new = (
            _moved_by(scorer, snapshots_by(scorer.catalogue, prepared, rows))
            for scorer in (champion, challenger)
        )
    except InputError as error:  # an attribute is gone: who stood for the champion says so too
        return [Check("reasons_in_common", "note", told=f"not compared: {error}")]
    both = old.add_suffix("_old").join(new.add_suffix("_new"), how="outer").fillna(0.0)
    checks = [_in_common(both, gate), _newest(both, gate)]
    if not blocked:
        return checks
    told = f"the champion reads {some(blocked)}, which the leakage audit now blocks; "
    return [replace(check, result="note", told=told + check.told) for check in checks]


def _in_common(both: pd.DataFrame, gate: GateConfig) -> Check:
    overlap = float(both[["size_old", "size_new"]].min(axis=1).sum())
    top = str(both["size_new"].idxmax())
    most = f"{both['size_new'].max():.0%}, and {both['size_old'][top]:.0%} in the champion"
    return Check(
        "reasons_in_common",
        "pass" if overlap >= gate.reasons_overlap else "fail",
        1.0,
        overlap,
        1 - overlap,
        margin=1 - gate.reasons_overlap,
        told=f"{top} moves the challenger's scores most: {most}",
    )


def _newest(both: pd.DataFrame, gate: GateConfig) -> Check:
    hardly = both[both["spread_old"] < HARDLY_READ]
    added = (hardly["spread_new"] - hardly["spread_old"]).clip(lower=0)
    added = added[added > 0].sort_values(ascending=False, kind="stable")
    share = float(added.sum())
    told = "of reasons that the champion hardly has there is none"
    if share > 0:
        told = (
            f"of the scores' spread, more than in the champion by reasons that it hardly has: "
            f"{some([f'{name} {more:.0%}' for name, more in added.items()])}"
        )
    return Check(
        "newest_reason",
        "pass" if share <= gate.new_reason_share else "fail",
        challenger=share,
        worse_by=share,
        margin=gate.new_reason_share,
        told=told,
    )


def _moved_by(scorer: Scorer, snapshots: pd.DataFrame) -> pd.DataFrame:
    """Return each concept's share of the mean size of all contributions, and of their variance."""
    sums = concept_sums(scorer.forest, scorer.encoder, scorer.catalogue, snapshots)
    size = sums.abs().mean()
    return pd.DataFrame({"size": size / max(size.sum(), 1e-12), "spread": spread_of(sums)})


def cost_checks(
    champion: Scorer, challenger: Scorer, prepared: Prepared, gate: GateConfig
) -> list[Check]:
    """Return whether one lead takes much longer, and the model much more room, than now."""
    size = [len(scorer.forest.text.encode()) for scorer in (champion, challenger)]
    return [
        _cost(
            "latency", _seconds(champion, challenger, prepared), gate.latency_ratio, SMALL_SECONDS
        ),
        _cost("size", (float(size[0]), float(size[1])), gate.size_ratio, SMALL_BYTES),
    ]


def _cost(name: str, found: tuple[float, float], most: float, small: float) -> Check:
    old, new = found
    ratio = new / max(old, 1e-12)
    is_fine = ratio <= most or new <= small
    told = {
        "latency": f"{old * 1e3:.2f} and {new * 1e3:.2f} ms for one lead with its reasons",
        "size": f"{old / 1e6:.2f} and {new / 1e6:.2f} MB of trees",
    }[name]
    return Check(name, "pass" if is_fine else "fail", old, new, ratio, margin=most, told=told)


def _seconds(champion: Scorer, challenger: Scorer, prepared: Prepared) -> tuple[float, float]:
    """Return the median seconds of one lead with its reasons, of both.

    Taken in turns, and the best round of each counts: what else the machine does slows both.
    """
    snapshots = prepared.examples.snapshots[prepared.split.is_test][:LEADS_TIMED]
    asked = [_prepared(scorer, snapshots) for scorer in (champion, challenger)]
    best = [np.inf, np.inf]
    for _ in range(ROUNDS):
        for place, (scorer, numbers, categories) in enumerate(asked):
            taken = []
            for row in range(len(numbers)):
                one = {name: values[row : row + 1] for name, values in categories.items()}
                start = time.perf_counter()
                for score in scorer.score(numbers[row : row + 1], one, [True]):
                    score.why()
                taken.append(time.perf_counter() - start)
            best[place] = min(best[place], float(np.median(taken)))
    return best[0], best[1]


def _prepared(
    scorer: Scorer, snapshots: pd.DataFrame
) -> tuple[LeadScorer, np.ndarray, dict[str, list[str | None]]]:
    """Return what to time; a feature that these snapshots lack is missing in all of them."""
    asked = LeadScorer.of(scorer)
    numbers = snapshots.reindex(columns=list(asked.number_names)).to_numpy(np.float32)
    categories = {
        str(name): [value if isinstance(value, str) else None for value in column]
        for name, column in snapshots.reindex(columns=list(asked.category_names)).items()
    }
    return asked, numbers, categories
