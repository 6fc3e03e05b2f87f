"""The gate on flat exports: the champion reads the export's rows itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from flat_files import write_flat

from features.config import Config
from features.errors import InputError
from models.calibration import Calibration
from models.cutoff import Cutoff
from models.encoding import fit_encoder
from models.forest import Forest
from models.scorer import Scorer
from training.candidate import Candidate, Prepared
from training.evaluation import evaluate_recipe
from training.examples import Examples
from training.gate.gate import ChampionInUse, judge
from training.gate.snapshots import snapshots_by
from training.recipe import prepare
from training.steps import Steps

PARAMETERS: dict[str, Any] = {"objective": "binary", "num_leaves": 4, "num_threads": 1, "seed": 0,
              "deterministic": True, "force_col_wise": True, "verbose": -1}  # fmt: skip


def settings(path: Path, *drop: str) -> Config:
    return Config.model_validate(
        {
            "flat": {"path": path.name, "lead_id": "person", "account_id": "firm", "as_of": "seen",
                     "won_at": "won_on", "drop": ["won", *drop]},
            "data": {"data_until": "2026-04-01"},
            "training": {"trials": 0, "min_wins": 20, "bootstraps": 20, "num_threads": 1},
            "gate": {"min_wins": 50, "bootstraps": 200},
        }
    )  # fmt: skip


def scorer_of(examples: Examples, until: str) -> Scorer:
    encoder = fit_encoder(examples.snapshots, examples.catalogue)
    rows = lgb.Dataset(encoder.transform(examples.snapshots), examples.won)
    forest = Forest.of_text(lgb.train(PARAMETERS, rows, 20).model_to_string())
    return Scorer(
        forest,
        encoder,
        examples.catalogue,
        Calibration.identity(),
        Cutoff("fixed", {}, 0.3),
        float(examples.won.mean()),
        91,
        forest.base_raw_score,
        {"data_until": until, "parameters": {"num_leaves": 4}, "half_life_days": None},
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Candidate, Scorer]:
    """What a candidate is made of, the candidate, and a champion that reads one column less."""
    folder = tmp_path_factory.mktemp("flat")
    write_flat(folder / "leads.csv", rows=2_000)
    prepared = prepare(settings(folder / "leads.csv"), folder, folder, Steps())
    fewer = settings(folder / "leads.csv", "industry")
    less = prepare(fewer, folder, folder, Steps())
    examples = prepared.examples
    evaluation = evaluate_recipe(examples, None, prepared.config, prepared.split, Steps())
    scorer = scorer_of(examples, "2026-04-01")
    candidate = Candidate("trained", evaluation, None, None, scorer)  # type: ignore[arg-type]  # no funnel is looked at
    return prepared, candidate, scorer_of(less.examples, "2025-03-01")


def test_a_champion_of_fewer_columns_is_asked_itself(judged):
    prepared, candidate, champion = judged
    verdict = judge(ChampionInUse("1", "abc", champion), candidate, prepared, Steps())
    assert verdict.baseline == "champion"
    assert "different settings" in verdict.why
    figures = {check.name: check for check in verdict.checks}
    assert figures["log_loss"].worse_by < 0  # the industry tells much
    assert figures["precision"].result != "fail"


def test_a_column_that_the_export_lost_is_named(judged):
    prepared, _, champion = judged
    feature = replace(
        champion.catalogue.features[0], name="region", concept="region", stream="leads.region"
    )
    catalogue = replace(champion.catalogue, features=(*champion.catalogue.features, feature))
    everything = np.ones(len(prepared.examples.won), dtype=bool)
    with pytest.raises(InputError, match=r"The model reads leads\.region, which the data do not"):
        snapshots_by(catalogue, prepared, everything)
