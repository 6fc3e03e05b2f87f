"""Merges that lead nowhere: named, counted and ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.loading.load_report import Note

if TYPE_CHECKING:  # requests are checked for circles too, and read nothing by DuckDB
    import duckdb


def mend_merges(connection: duckdb.DuckDBPyConnection) -> list[Note]:
    """Remove merges that lead nowhere from `kept_leads`: into itself, in a circle, into no one."""
    pairs = connection.execute(
        "select lead_id, arg_max(merged_into, recorded_at) from kept_leads"
        " where merged_into is not null group by lead_id"
    ).fetchall()
    survivors: dict[str, str] = dict(pairs)
    known = {
        row[0]
        for row in connection.execute(
            "select lead_id from kept_leads where lead_id in (select merged_into from kept_leads)"
        ).fetchall()
    }
    wrong: dict[str, list[str]] = {
        "merged_into_itself": [lead for lead, into in pairs if lead == into],
        "merged_into_unknown_lead": [lead for lead, into in pairs if into not in known],
    }
    for lead in (lead for found in wrong.values() for lead in found):
        del survivors[lead]
    wrong["merged_in_a_circle"] = in_circles(survivors)
    notes = []
    for name, leads in wrong.items():
        if leads:
            connection.execute(
                "update kept_leads set merged_into = null"
                " where lead_id in (select unnest(?::varchar[]))",
                [leads],
            )
            notes.append(Note(name, len(leads), "leads whose merge is ignored"))
    return notes


def in_circles(survivors: dict[str, str]) -> list[str]:
    """Return the leads that merge into themselves through others.

    >>> in_circles({"a": "b", "b": "c", "c": "b"})
    ['b', 'c']
    """
    circles: list[str] = []
    finished: set[str] = set()
    for start in survivors:
        path: dict[str, None] = {}
        lead = start
        while lead in survivors and lead not in path and lead not in finished:
            path[lead] = None
            lead = survivors[lead]
        if lead in path:
            walked = list(path)
            circles += walked[walked.index(lead) :]
        finished.update(path)
    return sorted(circles)
