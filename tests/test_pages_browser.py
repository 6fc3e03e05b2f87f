"""The pages in a real browser, over a real server and ledger."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import page_examples as examples
import pytest
import small_ledger
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from small_ledger import DAY, HOUR, MONDAY

from features.config import Config
from serving.api.app import create_app
from serving.api.service import Service
from serving.ledger.keys import Keys
from serving.pages.words import micros

NOW = MONDAY + 30 * HOUR
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESK = 390, 1280
LONG = "00Q5g00000ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" * 3
HOSTILE = '<script>document.title = "broken"</script>/\u202e'
# The least contrast of text anywhere on the page, and where it is (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const part = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => .2126 * part(c[0]) + .7152 * part(c[1]) + .0722 * part(c[2]);
  const rgba = text => text.match(/[\\d.]+/g).map(Number);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  let worst = [21, ''];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility()) continue;
    const a = light(rgba(getComputedStyle(element).color)), b = light(ground(element));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst[0]) worst = [ratio, node.data.trim()];
  }
  return worst;
}"""


@dataclass
class Site:
    """A running server, its service, and a browser to visit it with."""

    service: Service
    address: str
    browser: Browser
    complaints: list[str] = field(default_factory=list)
    "What the browsers said on their consoles: content policy, scripts, missing files."

    def visitor(self, width: int = DESK) -> Page:
        """A browser of someone who has logged in by the form."""
        context = self.browser.new_context(
            base_url=self.address, viewport={"width": width, "height": 900}
        )
        context.set_default_timeout(5_000)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        _, secret = self.service.keys.create(("read", "verdict"), "Sam", None)
        page.goto(f"{self.address}/login")
        page.get_by_label("API key").fill(secret)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Leads").wait_for()
        return page


def fill(service: Service) -> None:
    """Some MQLs, one with a history; ids that are long and hostile."""
    seen = examples.lead()["timeline"]
    columns = {name: [event.get(name) for event in seen] for event in seen for name in event}
    columns["occurred_at"] = [micros(text) for text in columns["occurred_at"]]
    told = {"timeline": columns, "account_id": "A-77"}
    before = small_ledger.record("L-1042", MONDAY - 6 * DAY, probability=0.19, **told)
    change = examples.lead()["change"]
    small_ledger.write(service.ledger, before)
    small_ledger.write(
        service.ledger,
        small_ledger.record("L-1042", MONDAY, change=change, crossing=examples.CROSSING, **told),
        small_ledger.record("keyboard", MONDAY + 29 * HOUR, probability=0.5, grade="A", **told),
        small_ledger.record("phone", MONDAY + 29 * HOUR, probability=0.4),
        small_ledger.record(LONG, MONDAY, account_id=LONG, why=LONG),
        small_ledger.record(HOSTILE, MONDAY, why=HOSTILE),
        small_ledger.record("below", MONDAY, probability=0.1, track="nurture: awareness"),
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    folder: Path = tmp_path_factory.mktemp("pages")
    ledger = small_ledger.open_ledger(folder, clock=lambda: NOW)
    service = Service(
        Config(), folder, ledger, Keys(ledger.engine), now=lambda: NOW, is_logging=False
    )
    fill(service)
    # Without its lifespan: no child need look for a champion.
    settings = uvicorn.Config(
        create_app(service), port=0, lifespan="off", ws="none", log_config=None, access_log=False
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            yield Site(service, f"http://127.0.0.1:{port}", browser)
        finally:
            browser.close()
            server.should_exit = True
            thread.join(10)
            service.stop()


@pytest.fixture(autouse=True)
def quiet_console(site: Site) -> Iterator[None]:
    """No page may make the browser complain: a breach of the content policy would."""
    site.complaints.clear()
    yield
    assert site.complaints == []


def tab_to(page: Page, name: str) -> None:
    """Go on by the Tab key until the thing of this name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate("document.activeElement.textContent.trim()")
        if found == name:
            return
    raise AssertionError(f"{name} can't be reached by keyboard")


def test_a_verdict_by_keyboard_alone_is_recorded(site: Site) -> None:
    page = site.visitor()
    tab_to(page, "Skip to content")
    page.keyboard.press("Enter")
    tab_to(page, "keyboard")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Lead keyboard").wait_for()
    tab_to(page, "Accept")
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()
    assert page.get_by_role("status").inner_text().startswith("Recorded: accepted")
    assert page.title().startswith("Recorded: accepted")
    found = site.service.ledger.lead("keyboard")
    assert found is not None and found["state"] == "accepted"
    # And its opposite, on the same page: the reason is asked for before anything is sent.
    tab_to(page, "Reject")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "reason"
    page.keyboard.type("No b")
    tab_to(page, "Reject")
    page.keyboard.press("Enter")
    page.get_by_text("Recorded: rejected (No budget)").wait_for()
    found = site.service.ledger.lead("keyboard")
    assert found is not None and found["verdicts"][0]["reason_code"] == "no_budget"


def test_a_screen_reader_is_told_the_same_as_the_eye(site: Site) -> None:
    page = site.visitor()
    table = page.get_by_role("table", name="Waiting for sales")
    assert "rowheader" in table.aria_snapshot()
    page.goto("/leads/L-1042")
    tree = page.locator("body").aria_snapshot()
    for told in (
        "- banner:",
        '- navigation "Main"',
        "- main:",
        "- contentinfo",
        '- heading "Lead L-1042" [level=1]',
        '- heading "Why 30.0%" [level=2]',
        '- region "Sales\' answer"',
        '- table "From 10.0% to 30.0%, in points of probability',
        'times in the last 30 days from 10.0% to 22.0% +12 points"',
        'img "2 scores: 19.0% on 28 April 2026, 30.0% on 4 May 2026',
        '- combobox "Reason to let it go"',
        '- button "Mark contacted"',
    ):
        assert told in tree, told


def test_pages_fit_every_screen_and_are_easy_to_read(site: Site) -> None:
    page = site.visitor()
    addresses = ["/leads?show=all", "/leads?show=recycled", "/leads/L-1042"]
    hrefs = page.get_by_role("row").get_by_role("link").evaluate_all("all => all.map(a => a.href)")
    odd = [href for href in hrefs if "00Q5g" in href or "script" in href]
    assert len(odd) == 2
    for address in [*addresses, *odd]:
        answer = page.goto(address)
        assert answer is not None and answer.status == 200
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (PHONE, DESK):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        grounds = set()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            ratio, where = page.evaluate(CONTRAST)
            assert ratio >= 4.5, (address, scheme, where)
        assert len(grounds) == 2
        assert page.title() != "broken"


def test_buttons_are_large_enough_for_a_thumb(site: Site) -> None:
    page = site.visitor(PHONE)
    page.goto("/leads/phone")
    targets = page.locator("main button, main select").all()
    assert len(targets) == 5
    for target in targets:
        box = target.bounding_box()
        assert box is not None and box["height"] >= 44 and box["width"] >= 44
