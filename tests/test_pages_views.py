"""What the pages say, on made-up leads as the ledger tells them."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import page_examples as examples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.pages.history_line import HEIGHT, WIDTH, history_line
from serving.pages.lead_list import lead_url
from serving.pages.lead_page import lead_view, recorded_text
from serving.pages.rendering import page_environment, static_files
from serving.pages.waterfall import TOLD, waterfall
from serving.pages.words import REASON_CODES

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}\u202e\x00'


class Seen(HTMLParser):
    """The tags, attributes and text a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.said: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def values(self, name: str) -> list[str | None]:
        return [value for attribute, value in self.attributes if attribute == name]


def page_of(lead: dict[str, Any], **content: Any) -> Seen:
    """The page of `lead` for someone who may answer."""
    told = {
        "user": {"name": "Sam", "csrf_token": "t" * 43},
        "section": "",
        "view": lead_view(lead, examples.NOW),
        "url": lead_url(lead["lead_id"]),
        "horizon_days": 91,
        "can_answer": True,
        "reason_codes": REASON_CODES,
        "recorded": None,
        "problem": "",
        "width": WIDTH,
        "height": HEIGHT,
    }
    template = page_environment(static_files()).get_template("lead.html.j2")
    return Seen(template.render(told | content))


def in_state(state: str | None, **mql: Any) -> dict[str, Any]:
    """A lead whose newest MQL is in `state`."""
    moment = examples.lead()["mqls"][0] | mql
    return examples.lead(state=state, mqls=[] if state is None else [moment])


def buttons(page: Seen) -> set[str | None]:
    return set(page.values("value")) & {"accepted", "contacted", "rejected", "recycled"}


def test_a_lead_is_told_with_probability_cutoff_track_and_reasons() -> None:
    text = page_of(examples.lead()).text
    for told in (
        "33.2% likely to close within 91 days",
        "Qualifies: leads qualify from 21.8%.",
        "Track Hand over to sales",
        "Where every lead starts 4.2%",
        "Asked for a demo twice in the last 30 days +12 points",
        "Job title is not known -3.8 points",
        "2 other reasons +0.2 points",
        "Adjustment to observed win rates +1.4 points",
        "not what causes it",
        "Since the score of 28 April 2026, 09:00 UTC: 18.7% then, 33.2% now",
        "What the lead did since Demo request, pricing page views +17 points",
        "4 May 2026 08:29 Asked for a demo Spring launch · web",
        'Had "Roof inspection" value 1250',
        "Accepted overdue by 1 hour",
        "First contact due in 22 hours",
        "Pricing view count 30d 4",
        "Job title unknown",
    ):
        assert told in text, told


@pytest.mark.parametrize(
    ("lead", "told"),
    [
        ({"cutoff": None, "qualified": False}, "No cutoff keeps the promise that was asked for"),
        ({"qualified": False}, "Over the cutoff of 21.8%, but it can't become an MQL now."),
        ({"qualified": False, "probability": 0.1}, "Doesn't qualify: leads qualify from 21.8%."),
        ({"track": "nurture: consideration"}, "Nurture, consideration stage"),
        ({"track": "with sales"}, "With sales already"),
        ({"change": None}, "there is nothing to compare it with"),
        ({"crossing": examples.CROSSING}, "If it asked for a demo twice 30.4%"),
        ({"timeline": []}, "No engagement events were known"),
        ({"unknown": ["opportunities"]}, "Scored without opportunities: not in the request."),
        ({"history": []}, "0 scores as a table"),
        ({"mqls": [], "state": None}, "never an MQL, so there is nothing to answer yet"),
    ],
)
def test_what_is_special_about_a_lead_is_said(lead: dict[str, Any], told: str) -> None:
    assert told in page_of(examples.lead(**lead)).text


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ("mql", {"accepted", "contacted", "rejected", "recycled"}),
        ("accepted", {"contacted", "rejected", "recycled"}),
        ("contacted", {"rejected", "recycled"}),
        ("rejected", {"accepted", "recycled"}),  # a slip can be mended
        ("recycled", set()),
        (None, set()),
    ],
)
def test_only_answers_that_make_sense_are_offered(state: str | None, offered: set[str]) -> None:
    assert buttons(page_of(in_state(state))) == offered
    assert buttons(page_of(in_state(state), can_answer=False)) == set()


def test_the_clock_says_what_was_reached_and_what_is_late() -> None:
    late = {"accepted_at": "2026-05-05T09:30:00Z"}
    assert "Accepted after 25 hours, late" in page_of(in_state("accepted", **late)).text
    early = {"accepted_at": "2026-05-04T09:30:00Z", "contacted_at": "2026-05-04T10:30:00Z"}
    text = page_of(in_state("contacted", **early)).text
    assert "Accepted after 1 hour First contact after 2 hours" in text
    assert "Accepted no longer due" in page_of(in_state("rejected")).text


def test_a_confirmation_is_shown_only_for_what_the_ledger_holds() -> None:
    verdict = {"verdict": "rejected", "reason_code": "no_budget", "score_id": None,
               "decided_at": "2026-05-05T09:30:00Z"}  # fmt: skip
    rejected = examples.lead(verdicts=[verdict])
    told = "Recorded: rejected (No budget), 5 May 2026, 09:30 UTC."
    assert recorded_text(rejected, "rejected") == told
    assert recorded_text(rejected, "accepted") is None
    assert recorded_text(examples.lead(), "contacted") is None
    assert recorded_text(examples.lead(), "") is None
    page = page_of(rejected, recorded=told)
    assert "status" in page.values("role") and "Rejected: No budget" in page.text


def hostile_lead() -> dict[str, Any]:
    """A lead with hostile text wherever text from outside may stand."""
    lead = examples.lead(HOSTILE, account_id=HOSTILE, model_version=HOSTILE, unknown=[HOSTILE])
    lead["change"]["text"] = HOSTILE
    for part in lead["change"]["parts"]:
        part["text"] = HOSTILE
    lead["crossing"] = {"text": HOSTILE, "reached": True,
                        "ways": [{"text": HOSTILE, "probability": 0.4}]}  # fmt: skip
    for reason in lead["reasons"]:
        reason["text"], reason["concept"] = HOSTILE, HOSTILE
    for event in lead["timeline"]:
        event |= {"event_type": HOSTILE, "content": HOSTILE, "channel": HOSTILE}
    verdict = {"verdict": "rejected", "reason_code": HOSTILE, "decided_at": lead["as_of"]}
    return lead | {"features": {HOSTILE: HOSTILE}, "verdicts": [verdict | {"score_id": None}]}


def test_hostile_text_is_shown_as_text() -> None:
    page = page_of(hostile_lead())
    harmless, hostile = page_of(examples.lead()), {"script", "img"}
    assert not hostile & set(page.tags)
    assert {name for name, _ in page.attributes} <= {name for name, _ in harmless.attributes}
    assert "<script>alert(1)</script>" in page.text and "{{ 7 * 7 }}" in page.text
    assert "\u202e" not in page.text and "\x00" not in page.text and "⟨202E⟩" in page.text


def test_pages_need_nothing_that_the_content_policy_forbids() -> None:
    page = page_of(examples.lead())
    assert not {"style", "script", "iframe"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name == "style" or name.startswith("on")]
    assert all(str(address).startswith(("/", "#")) for address in page.values("href"))


def test_every_page_has_landmarks_and_headings_in_order() -> None:
    page = page_of(examples.lead())
    assert {"header", "main", "footer", "nav"} <= set(page.tags)
    levels = [int(tag[1]) for tag in page.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.tags.count("caption") == page.tags.count("table")
    assert page.tags.count("th") == len(page.values("scope"))
    fields = [tag for tag in page.tags if tag == "select"]
    assert len(fields) == len(page.values("for"))


@given(
    points=st.lists(st.floats(-0.3, 0.3), max_size=30),
    base=st.floats(0, 1),
    end=st.floats(0, 1),
    cutoff=st.none() | st.floats(0, 1),
)
@settings(derandomize=True, deadline=None)
def test_a_waterfall_adds_up_and_stays_in_its_frame(
    points: list[float], base: float, end: float, cutoff: float | None
) -> None:
    reasons = [
        {"concept": f"c{place}", "family": "fit", "text": None, "points": value}
        for place, value in enumerate(points)
    ]
    rest = end - base - sum(points)
    terms = [*reasons, {"concept": "calibration", "family": "calibration", "points": rest}]
    drawn = waterfall(terms, base, end, cutoff)
    assert base + sum(bar.points for bar in drawn.bars) == pytest.approx(end, abs=1e-12)
    assert len(drawn.bars) <= TOLD + 2
    for bar in (drawn.start, *drawn.bars, drawn.end):
        assert 0 <= bar.x <= bar.x + bar.width <= 100.001
        assert bar.kind == "total" or (bar.points >= 0) == (bar.kind == "up")
    assert drawn.cutoff_x is None or 0 <= drawn.cutoff_x <= 100


def test_the_strongest_reasons_are_told_and_each_bar_starts_where_the_last_one_ended() -> None:
    drawn = waterfall(examples.reasons(), 0.042, 0.332, 0.218)
    told = [bar.text for bar in drawn.bars]
    assert told[0] == "Asked for a demo twice in the last 30 days"
    assert "Webinar attended" in told  # without a text: the concept's name
    assert told[-2:] == ["2 other reasons", "Adjustment to observed win rates"]
    level = drawn.start.x + drawn.start.width
    for bar in drawn.bars:
        left, right = bar.x, bar.x + bar.width
        begins, ends = (left, right) if bar.kind == "up" else (right, left)
        assert begins == pytest.approx(level, abs=0.01)
        level = ends
    assert level == pytest.approx(drawn.end.x + drawn.end.width, abs=0.01)


def test_a_long_timeline_shows_the_newest_days_whole_and_folds_the_others() -> None:
    many = [examples.event(f"2026-04-{day:02}T0{hour}:00:00Z", "web_visit")
            for day in range(1, 21) for hour in range(3)]  # fmt: skip
    view = lead_view(examples.lead(timeline=many), examples.NOW)
    assert [day.name for day in view.days] == ["20 April 2026", "19 April 2026", "18 April 2026"]
    assert [event.clock for event in view.days[0].events] == ["02:00", "01:00", "00:00"]
    page = page_of(examples.lead(timeline=many))
    assert "51 earlier, since 1 April 2026" in page.text
    assert page.text.count("Visited the website") == 60


def test_a_line_leaves_backfills_out_and_follows_the_cutoff() -> None:
    line = history_line(examples.lead()["history"])
    assert line is not None and len(line.points) == 3
    assert line.summary == (
        "3 scores: 11.8% on 14 April 2026, 33.2% on 4 May 2026; the last cutoff is 21.8%."
    )
    assert line.cutoff_path.count("H") == 3
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line.points)
    heights = [y for _, y in line.points]
    assert heights == sorted(heights, reverse=True)  # a higher score is drawn higher
    assert history_line(examples.lead()["history"][:2]) is None


def test_an_id_of_any_text_has_an_address() -> None:
    assert lead_url("a/b?c#d%2F é\u202e") == "/leads/a%2Fb%3Fc%23d%252F%20%C3%A9%E2%80%AE"
    assert lead_url("\ud800") == "/leads/%3F"
