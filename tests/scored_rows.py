"""Scored test rows with a known truth, and what a chart draws of them."""

import numpy as np
import pandas as pd
from scipy.special import expit


def some_test_rows(rows=6_000, seed=0):
    random = np.random.default_rng(seed)
    probability = expit(random.normal(-3, 1.5, rows))
    return pd.DataFrame(
        {
            "won": (random.random(rows) < probability).astype(float),
            "probability": probability,
            "weight": 1.0,
            "account": np.arange(rows) // 2,
        }
    )


def drawn(chart):
    """The rows a chart draws, by the kind of its marks."""
    spec = chart.to_dict()
    marks = {}
    for layer in spec["layer"]:
        own = layer.get("data", spec.get("data"))  # layers of equal data share those of the chart
        marks.setdefault(layer["mark"]["type"], []).extend(spec["datasets"][own["name"]])
    return marks
