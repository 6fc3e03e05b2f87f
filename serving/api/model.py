"""The model's card, and the comparison of model and rules, both from the champion's bundle."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from serving.api.auth import SECURITY, needs
from serving.api.errors import ApiError, come_back, json_response
from serving.api.schemas import NOT_FOUND, REFUSALS, UNAVAILABLE
from serving.champion.champion import Champion

router = APIRouter(prefix="/v1", tags=["model"])
_TOLD = ("wins", "rows", "window", "test", "metrics", "skill", "replay", "trees", "outcome",
         "is_optimistic", "lead_age_days", "calibrated_by", "warnings")  # fmt: skip


class ModelCard(BaseModel):
    """What a reader should know of the model in use."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str
    digest: str
    horizon_days: int
    base_rate: float
    trained_until: str | None
    cutoff: dict[str, Any]
    catalogue: dict[str, int]
    facts: dict[str, Any]
    versions: dict[str, str]
    "Of Python and the packages that trained it."


@router.get(
    "/model",
    dependencies=[needs("read")],
    response_model=ModelCard,
    responses={**REFUSALS, **UNAVAILABLE},
    openapi_extra={"security": SECURITY},
)
async def model_card(request: Request) -> Response:
    """Return the card of the model in use: training, metrics, cutoff with evidence and forecast."""
    return json_response(card(champion_of(request)))


@router.get(
    "/comparison",
    dependencies=[needs("read")],
    response_model=dict[str, Any],
    responses={**REFUSALS, **NOT_FOUND, **UNAVAILABLE},
    openapi_extra={"security": SECURITY},
)
async def comparison(
    request: Request, cutoff: Annotated[float | None, Query(ge=0, le=1)] = None
) -> Response:
    """Return model and rules over the same weeks, as `closedwon compare --json` does.

    With `cutoff` the curve's points nearest to it: the model at that cutoff, and the rules at the
    nearest volume.
    """
    record = champion_of(request).comparison
    if record is None:
        raise ApiError(404, "The model was trained without rules to compare it with.")
    return json_response(record if cutoff is None else at_cutoff(record, cutoff))


def champion_of(request: Request) -> Champion:
    """Return the champion in use; ApiError 503 before there is one."""
    champion: Champion | None = request.app.state.service.champion
    if champion is None:
        raise come_back(503, "There is no model yet. See /readyz; train one: closedwon train", 5)
    return champion


def card(champion: Champion) -> dict[str, Any]:
    """Return the model's card as plain values."""
    scorer = champion.live.scorer
    facts = {name: scorer.facts[name] for name in _TOLD if name in scorer.facts}
    features = scorer.catalogue.features
    return {
        "model_version": champion.version,
        "digest": champion.digest,
        "horizon_days": scorer.horizon_days,
        "base_rate": scorer.base_rate,
        "trained_until": champion.manifest["facts"].get("window", {}).get("until"),
        "cutoff": asdict(scorer.cutoff),
        "catalogue": {
            "features": len(features),
            "concepts": len({feature.concept for feature in features}),
        },
        "facts": facts,
        "versions": champion.manifest["versions"],
    }


def at_cutoff(record: dict[str, Any], cutoff: float) -> dict[str, Any]:
    """Return the points of the curves nearest to `cutoff`; None for a curve without points.

    >>> point = {"cutoff": 0.2, "mqls_per_week": 5.0}
    >>> rules = [{"cutoff": 10.0, "mqls_per_week": 4.0}, {"cutoff": 0.0, "mqls_per_week": 9.0}]
    >>> at_cutoff({"curves": {"model": [point], "rules": rules}}, 0.3)["rules"]
    {'cutoff': 10.0, 'mqls_per_week': 4.0}
    """
    curves = record["curves"]
    model = min(curves["model"], key=lambda point: abs(point["cutoff"] - cutoff), default=None)
    return {
        "asked": cutoff,
        "model": model,
        "rules": None if model is None else _at_volume(curves["rules"], model),
    }


def _at_volume(curve: list[dict[str, Any]], other: dict[str, Any]) -> dict[str, Any] | None:
    """Return the point of `curve` whose volume is nearest to that of `other`."""
    named = "mqls_per_week" if "mqls_per_week" in other else "mqls"
    volume = other.get(named) or 0.0
    return min(curve, key=lambda point: abs((point.get(named) or 0.0) - volume), default=None)
