"""What callers of the ledger tell apart; a user's own mistake is an `InputError`."""

from __future__ import annotations


class LedgerFull(Exception):  # noqa: N818 - a state, not a bug
    """The queue has no room for these records. Come back later: HTTP 503."""


class LedgerUnavailable(Exception):  # noqa: N818 - a state, not a bug
    """The database does not answer, or did not take the records: HTTP 503."""


class UnknownLead(LookupError):  # noqa: N818 - reads as a claim
    """The ledger has no score of this lead: HTTP 404."""
