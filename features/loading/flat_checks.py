"""The rules of a flat export: which rows and which labels are usable."""

from __future__ import annotations

import duckdb
import pandas as pd

from features.config import FlatSource
from features.errors import InputError
from features.loading.cells import TypedColumn, quoted, typed_column
from features.loading.checking import attribute_columns, describe_columns
from features.loading.load_report import Note
from features.loading.reading import RawTable
from features.loading.rules import (
    FUTURE_SLACK,
    INSTANT_FIX,
    OLDEST,
    Rule,
    apply_rules,
    bad,
    later_of,
)
from features.tables import Kind

OWN_COLUMNS = ("lead_id", "account_id", "as_of", "is_eligible", "won", "won_at")
WON = ("1", "1.0", "yes", "y", "true", "t", "won", "closed won", "closed_won", "converted")
NOT_WON = (
    *("0", "0.0", "no", "n", "false", "f", "lost", "closed lost", "closed_lost"),
    *("not converted", "open"),
)


def own_columns(source: FlatSource, raw: RawTable) -> dict[str, str]:
    """Return our name -> column of the export, for the columns that `[flat]` names."""
    folded = {name.casefold(): name for name in raw.columns}
    named = {
        "lead_id": source.lead_id,
        "account_id": source.account_id,
        "as_of": source.as_of,
        "won": source.label,
        "won_at": source.won_at,
    }
    found = {}
    for ours, name in named.items():
        if name is None:
            continue
        if name.casefold() not in folded:
            setting = "label" if ours == "won" else ours
            raise InputError(
                f'[flat] {setting} = "{name}" is no column of {raw.source}.'
                f" {describe_columns(list(raw.columns), [name])}"
            )
        found[ours] = folded[name.casefold()]
    unknown = [name for name in source.drop if name.casefold() not in folded]
    if unknown:
        raise InputError(
            f"[flat] drop names columns that {raw.source} lacks: {', '.join(unknown[:3])}."
            f" {describe_columns(list(raw.columns), unknown)}"
        )
    return found


def flat_attributes(
    connection: duckdb.DuckDBPyConnection,
    source: FlatSource,
    raw: RawTable,
    columns: dict[str, str],
) -> tuple[dict[str, tuple[str, str]], list[Note]]:
    """Return attribute -> (SQL, dtype) for the columns that are neither ours nor dropped."""
    dropped = {name.casefold() for name in source.drop}
    used = set(columns.values()) | {name for name in raw.columns if name.casefold() in dropped}
    attributes, notes = attribute_columns(connection, raw, used, "as_of")
    taken = [name for name in attributes if name in (*OWN_COLUMNS, "row")]
    if taken:
        raise InputError(
            f"{raw.source} has a column {taken[0]} of its own. Name it in [flat] if it is what"
            " closedwon means by it, else rename it in SQL or list it in [flat] drop."
        )
    return attributes, notes


def check_flat(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    label: str,
    columns: dict[str, str],
    attributes: dict[str, tuple[str, str]],
    now: pd.Timestamp,
) -> tuple[list[Rule], dict[str, int]]:
    """Make `kept_flat` from the raw rows; return the rules and what they set aside."""
    cells = ["rowid as row", "(rowid + 1)::varchar as lead_id"]
    for name in ("lead_id", "account_id", "as_of", "won", "won_at"):
        if name in ("as_of", "won_at"):
            typed = _typed(columns, raw, name, "instant")
            value = typed.value if typed else "null::timestamp"
            cells += [f"{value} as {name}", f"{typed.is_bad if typed else 'false'} as {bad(name)}"]
            cells.append(f'{typed.is_day if typed else "false"} as "day:{name}"')
        elif name == "won":
            typed = _typed(columns, raw, name, "text")
            cells.append(f"lower({typed.value}) as label" if typed else "null::varchar as label")
        else:
            typed = _typed(columns, raw, name, "id")
            if typed:
                cells = [cell for cell in cells if not cell.endswith(f" as {name}")]
            if typed or name == "account_id":
                cells.append(f"{typed.value if typed else 'null::varchar'} as {name}")
    cells += [f"{sql} as {quoted(name)}" for name, (sql, _) in attributes.items()]
    connection.execute(f"create table timed_flat as select {', '.join(cells)} from {raw.relation}")
    if "won" in columns:
        _check_words(connection, label)
    rules = _rules(columns, attributes, f"timestamp '{now.isoformat(sep=' ')}'")
    rejected = {"malformed_line": raw.malformed_count} if raw.malformed_count else {}
    rejected |= apply_rules(connection, "flat", rules)
    won = ", ".join(f"'{word}'" for word in WON)
    kept = ["row", "lead_id", "account_id", "as_of", *(quoted(name) for name in attributes)]
    if "won" in columns:
        kept.append(f"case when label is not null then (label in ({won}))::double end as won")
    if "won_at" in columns:
        kept.append("won_at")
    connection.execute(f"create table kept_flat as select {', '.join(kept)} from remaining_flat")
    return rules, rejected


def _typed(columns: dict[str, str], raw: RawTable, name: str, kind: Kind) -> TypedColumn | None:
    if name not in columns:
        return None
    return typed_column(columns[name], raw.columns[columns[name]], kind)


def _check_words(connection: duckdb.DuckDBPyConnection, label: str) -> None:
    """Refuse a label column that holds other words than the known ones."""
    words = [
        row[0]
        for row in connection.execute(
            "select label from timed_flat where label is not null group by 1 order by 1 limit 50"
        ).fetchall()
    ]
    if all(word in WON or word in NOT_WON for word in words):
        return
    short = len(words) <= 5 and all(len(word) <= 30 and "@" not in word for word in words)
    found = ", ".join(f'"{word}"' for word in words) if short else f"{len(words)} or more values"
    raise InputError(
        f"[flat] label {label} holds {found}. Known: 1/0, yes/no, true/false, won/lost,"
        " converted/not converted. Map others in SQL:"
        f" select *, {quoted(label)} = 'Won' as won from ..."
    )


def check_classes(won: pd.Series[float], label: str) -> None:
    """Refuse labels that are all the same."""
    values = sorted(won.dropna().unique())
    if len(values) < 2:
        found = "only won leads" if values == [1.0] else "no won lead" if values else "no value"
        raise InputError(
            f"[flat] label {label} has {found}. Learning needs leads that were won and leads that"
            " were not."
        )


def _rules(columns: dict[str, str], attributes: dict[str, tuple[str, str]], now: str) -> list[Rule]:
    texts = ["lead_id", "account_id"] + [
        n for n, (_, dtype) in attributes.items() if dtype != "number"
    ]
    nul = " or ".join(f"contains({quoted(name)}, chr(0))" for name in texts)
    rules = [
        Rule("missing_id", "lead_id is null", "Fill it, or filter the rows in SQL.", "lead_id"),
        Rule("text_has_nul", nul, "Remove the NUL bytes from the export."),
    ]
    for name in (name for name in ("as_of", "won_at") if name in columns):
        fix = INSTANT_FIX.format(column=quoted(columns[name]))
        rules += [
            Rule("unreadable_instant", bad(name), fix, name),
            Rule("instant_before_1980", f"{name} < {OLDEST}", "Leave empty dates empty.", name),
            Rule(
                "occurred_in_future",
                f"{name} > {now} + {FUTURE_SLACK}",
                "Check the clock or the time zone of the export.",
                name,
            ),
        ]
    if "as_of" in columns:
        fix = "A row needs its date, or leave as_of out of [flat]."
        rules.append(Rule("missing_required", "as_of is null", fix, "as_of"))
    if "won_at" in columns:
        # A date without time of day may lie before the row's time of the same day.
        start = "case when \"day:won_at\" then date_trunc('day', as_of) else as_of end"
        fix = "Rows won before their date teach nothing; is as_of the last change of the row?"
        rules.append(Rule("won_before_as_of", f"won_at < {start}", fix))
    same = ", ".join(
        ["lead_id", "as_of", "account_id", "label", "won_at", *map(quoted, attributes)]
    )
    key = "lead_id, as_of" if "as_of" in columns else "lead_id"
    once = "One row per lead (and date); a join in SQL may have multiplied them."
    exact = later_of("remaining_flat", key, same, same)
    rules.append(Rule("exact_duplicate_row", exact, "One is kept.", stops_above=1.0))
    twice = later_of("remaining_flat", key, key, same)
    rules.append(Rule("duplicate_id", twice, once, "lead_id"))
    return rules
