"""What an e-mail address is, and which columns usually hold one: for files and for requests."""

from __future__ import annotations

import re

EMAIL_DOMAIN = "email_domain"
ADDRESS = r"(mailto:)?[^@\s]+@[^@\s]+\.[^@\s.]+"
"Of a trimmed cell in lower case."
MOSTLY = 0.9
"A column of any name with more addresses than this among its filled cells holds addresses."
# Names, without case and punctuation, of columns that hold addresses if any cell is one.
_USUAL_NAMES = (
    *("email", "emailaddress", "mail", "mailaddress", "emailid", "workemail", "businessemail"),
    *("personalemail", "primaryemail", "contactemail", "companyemail"),
)


def usual_place(column: str) -> int | None:
    """Return how likely, by its name, a column holds the lead's address: 0 is the likeliest.

    >>> usual_place("E-Mail"), usual_place("WorkEmail"), usual_place("campaign")
    (0, 5, None)
    """
    name = re.sub(r"[\W_]+", "", column.casefold())
    return _USUAL_NAMES.index(name) if name in _USUAL_NAMES else None


def domain_of(cell: str) -> str | None:
    """Return the domain of a cell that is an e-mail address, None if it is none.

    >>> domain_of(" mailto:Ann@Example.com "), domain_of("@home")
    ('example.com', None)
    """
    text = cell.strip(" \t\r\n\u00a0").lower()
    is_address = re.fullmatch(ADDRESS, text, re.ASCII)
    return text.partition("@")[2] if is_address else None
