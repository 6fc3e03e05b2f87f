"""How features are told to a salesperson: plain English, from the event type's name."""

from __future__ import annotations

import re
from typing import NamedTuple


class Phrase(NamedTuple):
    """How to say that something happened."""

    did: str
    "Past tense, follows `The lead` or stands alone: `viewed the pricing page`."
    one: str
    "`pricing page view`."
    many: str
    "`pricing page views`."


def _views(page: str, article: str = "the ") -> Phrase:
    return Phrase(f"viewed {article}{page}", f"{page} view", f"{page} views")


_PHRASES = {
    "page_view": _views("page", "a "),
    "web_visit": Phrase("visited the website", "website visit", "website visits"),
    "pricing_view": _views("pricing page"),
    "pricing_page_view": _views("pricing page"),
    "case_study_view": _views("case study", "a "),
    "docs_view": _views("documentation"),
    "product_view": _views("product page", "a "),
    "email_open": Phrase("opened an e-mail", "e-mail opened", "e-mails opened"),
    "email_click": Phrase("clicked in an e-mail", "click in an e-mail", "clicks in e-mails"),
    "email_reply": Phrase("replied to an e-mail", "reply by e-mail", "replies by e-mail"),
    "email_bounce": Phrase("had an e-mail bounce", "e-mail bounced", "e-mails bounced"),
    "unsubscribe": Phrase("unsubscribed", "unsubscription", "unsubscriptions"),
    "content_download": Phrase("downloaded content", "download", "downloads"),
    "form_submit": Phrase("submitted a form", "form submitted", "forms submitted"),
    "webinar_registration": Phrase(
        "registered for a webinar", "webinar registration", "webinar registrations"
    ),
    "webinar_attended": Phrase("attended a webinar", "webinar attended", "webinars attended"),
    "event_attended": Phrase("attended an event", "event attended", "events attended"),
    "demo_request": Phrase("asked for a demo", "demo request", "demo requests"),
    "contact_request": Phrase("asked to be contacted", "contact request", "contact requests"),
    "trial_start": Phrase("started a trial", "trial started", "trials started"),
    "trial_use": Phrase("used the trial", "use of the trial", "uses of the trial"),
    "trial_activity": Phrase("used the trial", "use of the trial", "uses of the trial"),
    "chat": Phrase("chatted with us", "chat", "chats"),
    "call": Phrase("had a call with us", "call", "calls"),
    "call_answered": Phrase("answered a call", "call answered", "calls answered"),
    "meeting": Phrase("met us", "meeting", "meetings"),
    "ad_click": Phrase("clicked an ad", "ad click", "ad clicks"),
    "login": Phrase("logged in", "login", "logins"),
}
_SAME_AS = {
    "webinar_attend": "webinar_attended",
    "webinar_attendance": "webinar_attended",
    "webinar_register": "webinar_registration",
    "webinar_signup": "webinar_registration",
    "trial_signup": "trial_start",
    "trial_login": "trial_use",
    "content_view": "content_download",
    "whitepaper_download": "content_download",
    "chat_started": "chat",
    "chat_message": "chat",
    "form_fill": "form_submit",
    "form_submitted": "form_submit",
    "trial_started": "trial_start",
    "trial_active": "trial_use",
    "email_opened": "email_open",
    "email_clicked": "email_click",
    "unsubscribed": "unsubscribe",
    "session": "web_visit",
}
ANYTHING = Phrase("was active", "activity", "activities")
OTHER = Phrase("did something else", "other activity", "other activities")
_GROUPS = {
    "explicit_interest": Phrase(
        "showed explicit interest", "sign of explicit interest", "signs of explicit interest"
    ),
}


NO_COMPANY = "The lead's company is not known"


def start(text: str) -> str:
    """Return `text` as the start of a sentence."""
    return text[:1].upper() + text[1:]


def slug(text: str) -> str:
    """Return `text` as part of a column name.

    >>> slug("Pricing Page: viewed")
    'pricing_page_viewed'
    """
    return re.sub(r"\W+", "_", text.lower()).strip("_") or "unnamed"


def title(column: str) -> str:
    """Return a column name as a heading.

    >>> title("company_size")
    'Company size'
    """
    words = re.sub(r"[\W_]+", " ", column).strip() or "This field"
    return words[:1].upper() + words[1:]


def phrase_of(event_type: str) -> Phrase:
    """Return how to say that an event of this type happened.

    >>> phrase_of("pricing_view").did
    'viewed the pricing page'
    >>> phrase_of("Roof inspection")
    Phrase(did='had "Roof inspection"', one='"Roof inspection"', many='"Roof inspection" events')
    """
    name = slug(event_type)
    name = _SAME_AS.get(name, name)
    if name in _PHRASES:
        return _PHRASES[name]
    said = _without_braces(event_type)
    return Phrase(f'had "{said}"', f'"{said}"', f'"{said}" events')


def phrase_of_group(name: str) -> Phrase:
    """Return how to say that an event of this group of types happened.

    >>> phrase_of_group("Buying signals").did
    'was active in "Buying signals"'
    """
    if name in _GROUPS:
        return _GROUPS[name]
    said = _without_braces(name)
    return Phrase(f'was active in "{said}"', f'activity in "{said}"', f'activities in "{said}"')


def _without_braces(name: str) -> str:
    return name.replace("{", "(").replace("}", ")")  # they would break the templates
