"""The scorer as an MLflow pyfunc, by models-from-code: MLflow runs this file, nothing is pickled.

`mlflow.pyfunc.load_model("models:/closedwon@champion")` works wherever closedwon is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from models.bundle import open_bundle
from models.registry import without_mlflow_warnings
from models.scorer import Scorer

with without_mlflow_warnings():
    import mlflow
    from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ClosedwonModel(PythonModel):
    """Scores snapshots; see `models.scorer.Scorer.score` for the columns that come back."""

    scorer: Scorer

    def load_context(self, context: PythonModelContext) -> None:
        """Open the bundle that was logged with the model."""
        self.scorer = open_bundle(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return the scores of snapshots, one row each."""
        return self.scorer.score(model_input)


mlflow.models.set_model(ClosedwonModel())
