"""E-mail addresses stay in the loader: of each only the domain and a hash are handed on."""

from __future__ import annotations

import duckdb

from features.loading.addresses import ADDRESS, EMAIL_DOMAIN, MOSTLY, usual_place
from features.loading.cells import quoted, trimmed
from features.loading.load_report import Note
from features.loading.reading import RawTable
from features.tables import EMAIL_HASH

# 16 of the 32 bytes of a sha256: enough to tell any two people apart.
_HASH_DIGITS = 32


def without_addresses(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    attributes: dict[str, tuple[str, str]],
) -> tuple[dict[str, tuple[str, str]], list[Note]]:
    """Return the attributes (name -> SQL, dtype) without columns of e-mail addresses, and notes.

    In their place come `email_domain` and `email_hash` (sha256 of the trimmed address in lower
    case, the first 16 bytes as hex), read from the likeliest of the columns, unless the table has
    its own. Cells that are no address give neither.
    """
    found = address_columns(connection, raw, [n for n, (_, kind) in attributes.items()])
    if not found:
        return attributes, []
    kept = {name: value for name, value in attributes.items() if name not in found}
    taken = {name.casefold() for name in raw.columns if name not in found}
    for name, sql in email_parts(found[0]).items():
        if name not in taken:
            kept[name] = (sql, "category")
    text = "addresses are not kept; their domain and a hash are, as email_domain and email_hash"
    return kept, [Note("email_address_not_kept", len(found), f"{', '.join(found)}: {text}")]


def email_parts(column: str) -> dict[str, str]:
    """Return the SQL of `email_domain` and `email_hash` of the addresses in `column`."""
    address = f"regexp_replace(lower({trimmed(quoted(column))}), '^mailto:', '')"
    is_address = f"regexp_full_match({address}, '{ADDRESS}')"
    return {
        EMAIL_DOMAIN: f"case when {is_address} then regexp_extract({address}, '@(.+)$', 1) end",
        EMAIL_HASH: f"case when {is_address} then left(sha256({address}), {_HASH_DIGITS}) end",
    }


def address_columns(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, columns: list[str]
) -> list[str]:
    """Return which text columns hold e-mail addresses, those of a usual name first."""
    texts = [name for name in columns if raw.columns.get(name) == "VARCHAR"]
    signs = [f"bool_or(contains({quoted(name)}, '@'))" for name in texts]
    has_sign = _row(connection, raw, signs)
    likely = [name for name, found in zip(texts, has_sign, strict=True) if found]
    counts = []
    for name in likely:
        cell = trimmed(quoted(name))
        counts += [
            f"count({cell})",
            f"count(*) filter (where regexp_full_match(lower({cell}), '{ADDRESS}'))",
        ]
    counted = iter(_row(connection, raw, counts))
    usual, others = [], []
    for name, filled, addresses in zip(likely, counted, counted, strict=True):
        if addresses and usual_place(name) is not None:
            usual.append(name)
        elif addresses > MOSTLY * filled:
            others.append(name)
    return sorted(usual, key=lambda name: usual_place(name) or 0) + others


def _row(connection: duckdb.DuckDBPyConnection, raw: RawTable, cells: list[str]) -> tuple[int, ...]:
    if not cells:
        return ()
    row: tuple[int, ...] | None = connection.execute(
        f"select {', '.join(cells)} from {raw.relation}"
    ).fetchone()
    assert row is not None
    return row
