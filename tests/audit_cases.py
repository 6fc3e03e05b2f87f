"""Flat examples whose columns are known to be honest or late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from features.catalogue.catalogue import flat_catalogue
from features.config import Config
from training.audit.audit import Audit, audit_examples
from training.examples import Examples

SECONDS_A_DAY = 86_400


def flat_config(**sections: dict[str, Any]) -> Config:
    return Config.model_validate({"flat": {"path": "leads.csv", "label": "won"}, **sections})


def flat_examples(
    columns: Mapping[str, Any],
    won: np.ndarray,
    *,
    as_of: np.ndarray | None = None,
    account: np.ndarray | None = None,
    config: Config | None = None,
) -> Examples:
    """The examples of a flat export with these columns: one lead a row, as they would load."""
    rows = len(won)
    attributes = pd.DataFrame({name: _typed(values) for name, values in columns.items()})
    catalogue = flat_catalogue(attributes, (config or flat_config()).features)
    index = pd.DataFrame(
        {
            "lead_id": pd.array([f"lead {n}" for n in range(rows)], dtype="str"),
            "account_id": pd.array([None] * rows, dtype="str"),
            "as_of": np.full(rows, "NaT", "datetime64[us]") if as_of is None else as_of,
            "is_eligible": True,
        }
    )
    return Examples(
        catalogue=catalogue,
        snapshots=pd.concat([index, attributes[catalogue.names]], axis=1),
        won=won.astype(float),
        days_to_win=np.full(rows, np.nan),
        opportunity=np.where(won, index["lead_id"], "").astype(str),
        weight=np.ones(rows),
        account=np.arange(rows) if account is None else account,
        is_dated=as_of is not None,
        has_horizon=False,
        is_maturity_known=True,
    )


def _typed(values: Any) -> Any:
    cells = np.asarray(values)
    if cells.dtype.kind in "biuf":
        return cells.astype(np.float32)
    return pd.array(cells.astype(object), dtype="str")


def audit(columns: Mapping[str, Any], won: np.ndarray, **given: Any) -> Audit:
    config = given.get("config") or flat_config()
    return audit_examples(flat_examples(columns, won, **given), None, config)


def levels(found: Audit) -> dict[str, str]:
    """Column -> level, without the table's name."""
    return {finding.column.removeprefix("leads."): finding.level for finding in found.findings}


def year_of_days(random: np.random.Generator, rows: int) -> np.ndarray:
    """Instants of one year, sorted."""
    seconds = np.sort(random.random(rows)) * 365 * SECONDS_A_DAY
    return np.datetime64("2024-01-01", "us") + (seconds * 1e6).astype("timedelta64[us]")


def draw_wins(score: np.ndarray, rate: float, random: np.random.Generator) -> np.ndarray:
    """Wins with log-odds `score` plus what makes their rate `rate`."""
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        is_high = (1 / (1 + np.exp(-score - middle))).mean() > rate
        low, high = (low, middle) if is_high else (middle, high)
    return random.random(len(score)) < 1 / (1 + np.exp(-score - low))


def levels_of(random: np.random.Generator, rows: int, count: int, name: str) -> np.ndarray:
    return np.array([f"{name} {n}" for n in range(count)], object)[random.integers(0, count, rows)]


def where(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values where the mask is true, missing elsewhere."""
    missing = np.nan if np.asarray(values).dtype.kind in "biuf" else None
    return np.where(mask, values, missing)


def honest_world(
    random: np.random.Generator, rows: int, strength: float = 0.8
) -> tuple[dict[str, Any], np.ndarray]:
    """Honest columns and the log-odds they make, drawn anew for every generator.

    Sources one of which may be far better, a form in two steps that keen leads fill sooner,
    enrichment for a random part, ids, many rare cities, and a number of the given strength.
    """
    source = random.integers(0, 8, rows)
    effects = random.normal(0, 0.8, 8)
    effects[7] += 3 * (random.random() < 0.3)
    city = np.minimum(random.zipf(1.3, rows), 200)
    intent, size, strong = random.normal(size=(3, rows))
    first = intent + random.uniform(0.5, 2) * random.normal(size=rows)
    second = intent + random.uniform(0.5, 2) * random.normal(size=rows)
    has_phone = first > np.quantile(first, random.uniform(0.05, 0.5))
    has_size = (has_phone | (random.random() < 0.5)) & (
        second > np.quantile(second, random.uniform(0.2, 0.7))
    )
    is_enriched = random.random(rows) < random.uniform(0.2, 0.9)
    columns = {
        "row_number": random.permutation(rows) + 1e6,
        "code": np.array([f"C{n}" for n in random.permutation(rows)], object),
        "source": np.array([f"source {n}" for n in source], object),
        "city": np.array([f"city {n}" for n in city], object),
        "visits": random.poisson(3, rows),
        "strong": strong,
        "phone": where(has_phone, levels_of(random, rows, rows, "phone")),
        "size": where(has_size, np.round(np.exp(3 + size))),
        "industry": where(has_size, levels_of(random, rows, 12, "industry")),
        "revenue": where(is_enriched, np.exp(10 + size + random.normal(size=rows))),
        "founded": where(is_enriched, random.integers(1950, 2020, rows)),
        "newsletter": np.where(random.random(rows) < 0.7, "yes", "no").astype(object),
    }
    score = effects[source] + random.uniform(0, 1) * intent + random.uniform(0, 0.8) * size
    return columns, score + strength * strong


ROWS = 5_000


def world(seed, rate=0.1, rows=ROWS, strength=0.8):
    """Random numbers, honest columns, wins and dates."""
    random = np.random.default_rng(seed)
    columns, score = honest_world(random, rows, strength)
    return random, columns, draw_wins(score, rate, random), year_of_days(random, rows)


def filled(random, won, of_won, of_lost):
    return random.random(len(won)) < np.where(won, of_won, of_lost)


def seconds(as_of):
    return as_of.astype(np.int64) / 1e6


def contract(random, won, as_of):
    """Filled for winners only, whatever the value."""
    return where(won, levels_of(random, len(won), 5, "contract"))


def budget(random, won, as_of):
    """Asked of every winner, and of a fifth of the others."""
    return where(filled(random, won, 1.0, 0.2), levels_of(random, len(won), 3, "budget"))


def status(random, won, as_of):
    """A code that is always filled; its value knows."""
    working = levels_of(random, len(won), 3, "status")
    return np.where(filled(random, won, 0.9, 0.01), "status 9", working)
