"""Generated flat exports whose true win rates are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

INDUSTRIES = np.array(["steel", "paper", "software"])


def write_flat(path: Path, rows: int = 3_000, seed: int = 0, has_skill: bool = True) -> np.ndarray:
    """Write a flat CSV and return the true probability of each row, in file order.

    Columns: person, firm, seen (two years of days), visits, industry, won (yes or no), won_on (the
    day of the win, up to 90 days after `seen`). Without skill nothing tells the outcome.
    """
    random = np.random.default_rng(seed)
    visits = random.poisson(2, rows)
    industry = random.choice(INDUSTRIES, rows)
    log_odds = -1.8 + has_skill * (0.5 * (visits - 2) + 1.0 * (industry == "software"))
    probability = 1 / (1 + np.exp(-log_odds))
    won = random.random(rows) < probability
    seen = np.datetime64("2024-01-01") + np.sort(random.integers(0, 730, rows))
    won_on = seen + random.integers(0, 91, rows)
    frame = pd.DataFrame(
        {
            "person": [f"p{n}" for n in range(rows)],
            "firm": [f"f{n}" for n in random.integers(0, rows // 2, rows)],
            "seen": seen,
            "visits": visits,
            "industry": industry,
            "won": np.where(won, "yes", "no"),
            "won_on": np.where(won, won_on.astype(str), ""),
        }
    )
    frame.to_csv(path, index=False)
    return probability
