"""The pictures of the report: what is drawn without Altair's own check keeps to its schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import altair as alt
import pytest
import vl_convert
from jsonschema import ValidationError
from small_crm import small_config, small_evaluation, small_examples, small_tables

from features.loading.load_report import LoadReport
from features.quality.quality import quality_of
from training.audit.findings import Audit
from training.funnel.overview import funnel_overview
from training.recipe import refit_on_everything
from training.report import charts
from training.report.report import write_report


def bars(colour: object) -> alt.Chart:
    rows = alt.InlineData(values=[{"name": "a", "n": 1}, {"name": "b", "n": 2}])
    return alt.Chart(rows).mark_bar().encode(x="n:Q", y="name:N", color=colour)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been drawn, as JSON; each is checked against the schema as it is."""
    seen: list[str] = []
    draw: Callable[[str], str] = vl_convert.vegalite_to_svg

    def checked(spec: str) -> str:
        kind = alt.LayerChart if "layer" in (read := json.loads(spec)) else alt.Chart
        kind.from_dict(read)
        seen.append(spec)
        return draw(spec)

    monkeypatch.setattr(vl_convert, "vegalite_to_svg", checked)
    return seen


def test_every_picture_of_the_report_keeps_to_the_schema(drawn: list[str], tmp_path: Path) -> None:
    examples, evaluation, config = small_examples(), small_evaluation(), small_config()
    page = write_report(
        evaluation,
        refit_on_everything(examples, evaluation, Audit(()), config),
        LoadReport((), None, {}),
        tmp_path / "report.html",
        quality_of(small_tables(), config),
        funnel=funnel_overview(small_tables(), examples, evaluation, config),
    )
    assert len(drawn) == page.read_text(encoding="utf-8").count("<svg") > 20


def test_a_wrong_chart_is_found_by_that_check(drawn: list[str]) -> None:
    with pytest.raises(ValidationError, match="none"):
        charts.svg(bars(alt.Color("name:N", axis="none")))
    assert not drawn


def test_a_picture_has_the_style_and_size_that_altair_itself_would_give_it(
    drawn: list[str],
) -> None:
    markup = charts.svg(bars(alt.value(charts.ACCENT)), width=100, height=50)
    styled = (
        bars(alt.value(charts.ACCENT))
        .properties(width=100, height=50, background="white")
        .configure(font="sans-serif")
        .configure_axis(
            labelColor=charts.INK, titleColor=charts.INK, gridColor="#eef2f5", titleFontWeight=600
        )
        .configure_view(stroke=None)
    )
    assert markup == vl_convert.vegalite_to_svg(styled.to_json())


def test_the_same_chart_gives_the_same_bytes(drawn: list[str]) -> None:
    one, other = (charts.svg(bars(alt.value(charts.ACCENT))) for _ in range(2))
    assert one == other and drawn[0] == drawn[1]
