"""The report page: complete, self-contained, and safe whatever the data are called."""

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_crm import small_config, small_evaluation, small_examples, small_tables

from features.config import CutoffConfig
from features.errors import InputError
from features.loading.load_report import LoadReport, Note, TableReport
from features.quality.quality import quality_of
from training.audit.audit import audit_examples
from training.audit.findings import Audit, Duplicates, Evidence, Finding
from training.cutoffs.cutoff import choose_cutoff
from training.evaluation import evaluate_recipe, split_examples
from training.recipe import examples_of, load, refit_on_everything
from training.report.report import told, write_report
from training.steps import Steps

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'


def loaded(text: str) -> LoadReport:
    """A load report that says `text` wherever a name may stand."""
    note = Note(text, 3, text)
    table = TableReport("leads", text, 10, 10, {}, (note,), (text,), False, None, None)
    return LoadReport((table,), pd.Timestamp("2026-01-05"), {})


@cache
def small_scorer():
    return refit_on_everything(small_examples(), small_evaluation(), Audit(()), small_config())


class Tags(HTMLParser):
    """The tags and attributes a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def assert_harmless(html: str) -> None:
    found = Tags(html)
    assert not found.tags & {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
    assert not found.attributes & {"src", "srcset", "action", "background"}
    assert not [name for name in found.attributes if name.startswith("on")]


def of_segments(html: str) -> int:
    """How many pictures tell the calibration by segment: one an attribute, and curves."""
    attributes = html.count('aria-label="Won and predicted, by ')
    assert attributes
    return attributes + html.count('aria-label="Predicted against observed, ')


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return write_report(
        small_evaluation(), small_scorer(), loaded("crm"), folder / "deep" / "report.html"
    )


def test_the_report_loads_nothing_and_runs_nothing(page):
    html = page.read_text(encoding="utf-8")
    assert_harmless(html)
    assert not re.search(r"@import|url\(\s*[\"']?(?!#)", html)
    # namespaces are names, nothing is fetched from them
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_report_tells_the_main_figures_with_their_intervals(page):
    html = page.read_text(encoding="utf-8")
    evaluation = small_evaluation()
    assert f"{evaluation.cutoff.value:.1%}" in html
    for name in ("precision", "capture", "mqls_per_week", "lead_time_days"):
        figure, interval = told(name, evaluation.replayed[name]).rstrip(")").split(" (")
        assert f"<b>{figure}</b>" in html
        assert f"90% interval {interval}" in html
    for name in ("auc", "log_loss", "calibration_error", "capture_10", "lift_5"):
        assert told(name, evaluation.metrics[name]) in html
        assert told(name, evaluation.eligible_metrics[name]) in html
    for name in evaluation.baselines:
        assert name.replace("_", " ") in html
    assert told("skill", evaluation.skill) in html
    assert html.count("<svg") == 7 + of_segments(html)
    assert f"{evaluation.replay.backlog(evaluation.cutoff.value)} in the backlog" in html


def test_the_report_is_written_aside_and_nothing_else_is_left(page):
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def write_hostile_flat(path: Path) -> None:
    random = np.random.default_rng(0)
    rows = 1_200
    values = random.choice([SCRIPT, IMAGE, "'; quoted & fine"], rows)
    number = random.normal(size=rows)
    won = random.random(rows) < 1 / (1 + np.exp(1 - number - (values == SCRIPT)))
    frame = pd.DataFrame({SCRIPT: values, IMAGE: number, "won": np.where(won, "yes", "no")})
    frame.to_csv(path, index=False)


def test_hostile_names_and_values_are_text(tmp_path):
    write_hostile_flat(tmp_path / "flat.csv")
    config = small_config(
        flat={"path": "flat.csv", "label": "won"}, cutoff={"mqls_per_week": 50}, data={}
    )
    examples = examples_of(load(config, tmp_path, tmp_path), config)
    evaluation = evaluate_recipe(examples, None, config, split_examples(examples, config), Steps())
    scorer = refit_on_everything(examples, evaluation, Audit(()), config)
    assert {SCRIPT, IMAGE} <= {feature.name for feature in scorer.catalogue.features}
    page = write_report(evaluation, scorer, loaded(SCRIPT), tmp_path / "report.html")
    html = page.read_text(encoding="utf-8")
    assert_harmless(html)
    assert SCRIPT in "".join(Tags(html).text)  # told, as text
    assert html.count("<svg") == 6 + of_segments(html)  # no weeks without dates


def test_a_report_without_a_cutoff_says_so_and_marks_nobody(tmp_path):
    policy = CutoffConfig(policy="precision", target_precision=0.99)
    none = choose_cutoff(small_evaluation().past, policy, bootstraps=5, seed=0)
    evaluation = replace(small_evaluation(), cutoff=none, replayed={})
    scorer = replace(small_scorer(), cutoff=none)
    page = write_report(evaluation, scorer, loaded("crm"), tmp_path / "report.html")
    html = page.read_text(encoding="utf-8")
    assert f"No cutoff: {none.reason}" in html
    assert "Nobody is marked as an MQL" in html


def test_a_page_that_cannot_be_written_is_the_users_mistake_and_leaves_nothing(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html cannot be written"):
        write_report(small_evaluation(), small_scorer(), loaded("crm"), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@cache
def small_audit():
    return audit_examples(small_examples(), small_tables(), small_config())


def broken(tables):
    """The tables without a month of page views, which a broken tracker would lose."""
    events = tables.engagement_events
    is_lost = (events["event_type"] == "page_view") & events["occurred_at"].between(
        "2025-05-01", "2025-06-01"
    )
    return replace(tables, engagement_events=events[~is_lost])


def test_the_report_shows_the_data_and_the_audit_with_pictures(tmp_path):
    quality = quality_of(broken(small_tables()), small_config())
    page = write_report(
        small_evaluation(),
        small_scorer(),
        loaded("crm"),
        tmp_path / "report.html",
        quality,
        small_audit(),
    )
    html = page.read_text(encoding="utf-8")
    assert_harmless(html)
    text = " ".join("".join(Tags(html).text).split())
    for finding in quality.findings:
        assert finding.subject in text
    assert "silent from 2025-05-01 to 2025-05-31" in text
    assert text.index("Leakage audit") < text.index("Events a day, by type")
    # the broken type comes first and is shaded; at most twelve types, two of maturity, one of
    # missing values, and those of the model
    titles = re.findall(r"<h4>(.*?)</h4>", html[html.index("Events a day, by type") :])
    assert titles[0] == "page_view"
    assert len(titles) == 12
    assert html.count("<svg") == 12 + 2 + 1 + 7 + of_segments(html)


def test_every_piece_of_evidence_stands_beside_its_column(tmp_path):
    evidence = Evidence("filled_only_for_winners", "block", {"won": 0.9}, f"{SCRIPT} 90% of them")
    finding = Finding("leads.invoice", "block", (evidence, evidence), group=2)
    twins = Duplicates("same_identifier", ("email_hash",), 8, 4, 2)
    audit = Audit((finding,), (twins,), ("the rate falls",), columns=7)
    page = write_report(
        small_evaluation(),
        small_scorer(),
        loaded("crm"),
        tmp_path / "report.html",
        audit=audit,
    )
    html = page.read_text(encoding="utf-8")
    assert_harmless(html)
    text = " ".join("".join(Tags(html).text).split())
    assert text.count("90% of them.") == 2
    for told_once in ("leads.invoice", "goes missing with group 2", "blocked", "the rate falls"):
        assert told_once in text
    assert "8 leads look like 4 people" in text
