"""The funnel in the report: everything is there, in words, and what is missing is named."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from small_crm import small_config, small_evaluation, small_examples, small_tables

from training.funnel.overview import FunnelOverview, funnel_of_tables, funnel_overview
from training.report.funnel_section import funnel_section
from training.report.pages import write_page


@pytest.fixture(scope="module")
def overview():
    return funnel_overview(small_tables(), small_examples(), small_evaluation(), small_config())


@pytest.fixture(scope="module")
def of_flat():
    return funnel_overview(None, small_examples(), small_evaluation(), small_config())


class Figures(HTMLParser):
    """The labels of the figures, and all text."""

    def __init__(self):
        super().__init__()
        self.labels, self.text, self.svgs = [], "", 0

    def handle_starttag(self, tag, attributes):
        if tag == "figure":
            self.labels.append(dict(attributes).get("aria-label", ""))
        self.svgs += tag == "svg"

    def handle_data(self, data):
        self.text += data


def page_of(overview: FunnelOverview, folder) -> Figures:
    section = funnel_section(overview)
    page = write_page("funnel_section.html.j2", {"funnel": section}, folder / "page.html")
    read = Figures()
    read.feed(page.read_text(encoding="utf-8"))
    return read


def test_every_picture_has_words_for_a_screen_reader(overview, tmp_path):
    read = page_of(overview, tmp_path)
    assert len(read.labels) == read.svgs >= 5
    assert all(len(label) > 30 for label in read.labels)


def test_the_section_speaks_of_all_four(overview, tmp_path):
    text = page_of(overview, tmp_path).text
    for heading in ("From MQL to win", "Which campaigns", "Who closes", "Segments"):
        assert heading in text
    conversion = overview.conversion
    assert f"Of {conversion.matured:,} MQLs" in text
    assert "too young to tell" in text
    for raw in ("nan", "None", "inf "):
        assert raw not in text


def test_a_flat_export_shows_who_closes_and_segments_and_says_why_no_more(of_flat, tmp_path):
    text = page_of(of_flat, tmp_path).text
    assert "A flat export tells neither stages nor campaigns" in text
    assert text.count("A flat export") == 1
    assert "Which campaigns" not in text
    assert "Who closes" in text and "Segments" in text


def test_the_overview_is_plain_json(overview, of_flat):
    for found in (overview, of_flat):
        again = json.loads(json.dumps(found.as_dict(), allow_nan=False))
        assert again["segments"][0]["rows"] == found.segments[0].rows
    assert again["conversion"] is None


def test_text_of_the_data_cannot_break_the_page(overview, tmp_path):
    tables = small_tables()
    renamed = tables.engagement_events.assign(
        campaign=tables.engagement_events["campaign"].where(
            tables.engagement_events["campaign"].isna(), "<script>alert(1)</script>"
        )
    )
    conversion, campaigns, left_out = funnel_of_tables(
        replace(tables, engagement_events=renamed), small_config()
    )
    changed = replace(overview, conversion=conversion, campaigns=campaigns, left_out=left_out)
    section = funnel_section(changed)
    page = write_page("funnel_section.html.j2", {"funnel": section}, tmp_path / "page.html")
    assert "<script>" not in page.read_text(encoding="utf-8")
