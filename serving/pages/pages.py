"""The routes of the pages.

Whoever has no session gets the log-in form, with status 401. A lead's id may hold any text, slashes
too, so it is the whole rest of the path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from features.errors import InputError
from serving.api.auth import Session, csrf_ok, is_same_site, log_in, log_out, page_session
from serving.api.errors import ApiError
from serving.ledger.errors import LedgerUnavailable, UnknownLead
from serving.pages import lead_list, lead_page
from serving.pages.history_line import HEIGHT, WIDTH
from serving.pages.rendering import page_environment, static_files
from serving.pages.words import REASON_CODES

if TYPE_CHECKING:
    from serving.api.service import Service

_MAX_FIELDS = 20
_OUT_OF_DATE = "This form is out of date. Open the page again and send it once more."


async def visitor(request: Request) -> Session | None:
    """Return who looks at the page, None if nobody has logged in."""
    return page_session(request)


async def form_fields(request: Request) -> dict[str, str]:
    """Return the fields of a posted form; the app limits the length of bodies."""
    body = (await request.body()).decode("utf-8", errors="replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        return {}


Visitor = Annotated[Session | None, Depends(visitor)]
Fields = Annotated[dict[str, str], Depends(form_fields)]


def pages_router() -> APIRouter:
    """Return the pages' routes; templates and static files are read here, once."""
    pages = _Pages()
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    router.add_api_route("/", pages.home, methods=["GET"])
    router.add_api_route("/login", pages.login_form, methods=["GET"])
    router.add_api_route("/login", pages.login, methods=["POST"])
    router.add_api_route("/logout", pages.logout, methods=["POST"])
    router.add_api_route("/leads", pages.leads, methods=["GET"])
    router.add_api_route("/leads/{lead_id:path}/verdict", pages.answer, methods=["POST"])
    router.add_api_route("/leads/{lead_id:path}", pages.lead, methods=["GET"])
    router.add_api_route("/static/{name}", pages.static, methods=["GET"])
    return router


class _Pages:
    """The pages with their templates, kept between requests."""

    def __init__(self) -> None:
        self._static = static_files()
        self._templates = page_environment(self._static)

    async def home(self) -> Response:
        """Send the visitor on to the list."""
        return RedirectResponse("/leads", 303)

    async def static(self, name: str, v: str = "") -> Response:
        """Answer with a file that pages load."""
        file = self._static.get(name)
        if file is None:
            return Response("Not found", 404, media_type="text/plain")
        is_named = file.address.endswith(f"?v={v}")
        kept = "public, max-age=31536000, immutable" if is_named else "no-cache"
        return Response(file.content, 200, {"cache-control": kept}, file.media_type)

    async def login_form(self, session: Visitor) -> Response:
        """Ask for a key, unless one was given already."""
        return self._login(200) if session is None else RedirectResponse("/leads", 303)

    async def login(self, request: Request, fields: Fields) -> Response:
        """Open a session for a key, and go where the visitor wanted to go."""
        target = fields.get("next", "")
        if not is_same_site(request):
            return self._login(403, target, _OUT_OF_DATE)
        try:
            # In its own thread: finding a key may wait for the database.
            answer = await run_in_threadpool(
                log_in,
                request,
                lambda _: RedirectResponse(_own_address(target), 303),
                fields.get("key", ""),
            )
        except ApiError as error:
            return self._login(error.status, target, error.message, error.headers)
        wrong = "This key is not valid: it is mistyped, has expired or was revoked."
        return self._login(401, target, wrong) if answer is None else answer

    async def logout(self, request: Request, session: Visitor, fields: Fields) -> Response:
        """End the session."""
        if session is None:
            return RedirectResponse("/login", 303)
        if not csrf_ok(request, session, fields.get("csrf_token")):
            return self._message(session, 403, "Still logged in", _OUT_OF_DATE)
        return log_out(request, RedirectResponse("/login", 303))

    def leads(
        self,
        request: Request,
        session: Visitor,
        show: str = "",
        grade: str = "",
        search: str = "",
        after: str = "",
    ) -> Response:
        """Show the ranked list."""
        refusal = self._refusal(request, session, "read")
        if refusal is not None:
            return refusal
        service: Service = request.app.state.service
        asked = lead_list.Asked.of(show, grade, search, after)
        try:
            content = lead_list.list_view(service.ledger, asked, service.now(), service.config)
        except InputError as error:
            content = lead_list.failed_view(asked, str(error))
            return self._page("leads", session, 422, content)
        except LedgerUnavailable:
            return self._unavailable(session)
        return self._page("leads", session, 200, content)

    def lead(
        self, request: Request, session: Visitor, lead_id: str, recorded: str = ""
    ) -> Response:
        """Show one lead."""
        refusal = self._refusal(request, session, "read")
        return refusal or self._lead(request, session, lead_id, recorded=recorded)

    def answer(self, request: Request, session: Visitor, fields: Fields, lead_id: str) -> Response:
        """Record what sales says of an MQL, then show the lead with what was recorded."""
        refusal = self._refusal(request, session, "verdict")
        if refusal is not None or session is None:
            return refusal or self._login(401)
        if not csrf_ok(request, session, fields.get("csrf_token")):
            return self._message(session, 403, "Nothing was recorded", _OUT_OF_DATE)
        try:
            verdict = _record(request, session, lead_id, fields)
        except InputError as error:
            return self._lead(request, session, lead_id, status=422, problem=str(error))
        except UnknownLead:
            return self._unknown(session)
        except LedgerUnavailable:
            return self._unavailable(session)
        return RedirectResponse(f"{lead_list.lead_url(lead_id)}?recorded={verdict}", 303)

    def _lead(
        self,
        request: Request,
        session: Session | None,
        lead_id: str,
        status: int = 200,
        recorded: str = "",
        problem: str = "",
    ) -> Response:
        service: Service = request.app.state.service
        try:
            lead = service.lead(lead_id)
        except LedgerUnavailable:
            return self._unavailable(session)
        if lead is None:
            return self._unknown(session)
        content = {
            "view": lead_page.lead_view(lead, service.now()),
            "url": lead_list.lead_url(lead_id),
            "horizon_days": lead["horizon_days"],
            "can_answer": session is not None and session.can("verdict"),
            "reason_codes": REASON_CODES,
            "recorded": lead_page.recorded_text(lead, recorded),
            "problem": problem,
            "width": WIDTH,
            "height": HEIGHT,
        }
        return self._page("lead", session, status, content)

    def _refusal(self, request: Request, session: Session | None, scope: str) -> Response | None:
        """Return the answer to who may not do this; None for who may."""
        if session is None:
            wanted = quote(request.scope["path"], safe="/") if request.method == "GET" else ""
            return self._login(401, wanted)
        if not session.can(scope):
            text = f"Your key has no scope {scope}. Log in with one that has it."
            return self._message(session, 403, "Not with this key", text)
        return None

    def _login(
        self,
        status: int,
        target: str = "",
        problem: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        content = {"next": target, "problem": problem}
        return self._page("login", None, status, content, headers)

    def _unknown(self, session: Session | None) -> Response:
        text = "No score of this lead is in the ledger. It may be spelled differently, or erased."
        return self._message(session, 404, "Unknown lead", text)

    def _unavailable(self, session: Session | None) -> Response:
        text = "The ledger does not answer at the moment. Nothing was changed; try again soon."
        return self._message(session, 503, "Try again soon", text)

    def _message(self, session: Session | None, status: int, heading: str, text: str) -> Response:
        return self._page("message", session, status, {"heading": heading, "text": text})

    def _page(
        self,
        template: str,
        session: Session | None,
        status: int,
        content: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        user = None
        if session is not None:
            user = {"name": session.key.name, "csrf_token": session.csrf_token}
        page = self._templates.get_template(f"{template}.html.j2")
        section = "leads" if template == "leads" else ""
        text = page.render({"user": user, "section": section, **content})
        return HTMLResponse(text.encode("utf-8", errors="replace"), status, headers)


def _record(request: Request, session: Session, lead_id: str, fields: Mapping[str, str]) -> str:
    """Write the answer to the ledger and return its name; InputError for one that is none."""
    service: Service = request.app.state.service
    verdict, reason = fields.get("verdict", ""), fields.get("reason_code") or None
    now, key_id = service.now(), session.key.key_id
    if verdict == lead_page.CONTACTED:
        service.ledger.add_contact(lead_id, now, key_id)
        return verdict
    if verdict not in lead_page.ANSWERS:
        raise InputError("Nothing was recorded: choose accept, contacted, reject or recycle.")
    if verdict == "accepted":
        reason = None
    elif reason not in REASON_CODES:
        raise InputError("Nothing was recorded: choose a reason to reject or recycle the lead.")
    score_id = fields.get("score_id") or None
    service.ledger.add_verdict(lead_id, verdict, reason, now, score_id, key_id)
    return verdict


def _own_address(target: str) -> str:
    r"""Return where to go after logging in: a page of ours, whatever the form said.

    >>> _own_address("/leads/L-1"), _own_address("//elsewhere.example"), _own_address("/leads/\n")
    ('/leads/L-1', '/leads', '/leads')
    """
    is_ours = target.startswith("/leads/") and target.isprintable()
    return target if is_ours else "/leads"
