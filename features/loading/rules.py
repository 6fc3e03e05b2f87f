"""The named rules: what makes a row unusable, as SQL over a table's typed rows.

The first rule that a row breaks sets it aside. Rows that are only odd are kept and noted
(`features/loading/checking.py`); nothing is dropped without a name and a count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb

from features.errors import InputError
from features.loading.cells import quoted
from features.tables import TableSpec

OPPORTUNITY_STAGES = ("open", "closed_won", "closed_lost")
VERDICTS = ("accepted", "rejected", "recycled")

# No CRM has rows older than this: they are an empty date (0001, 1899-12-30, 1970-01-01).
OLDEST = "timestamp '1980-01-01'"

# A clock ahead of ours, or local time read as UTC, is no reason to set a row aside.
FUTURE_SLACK = "interval 1 day"

# Rows about leads we do not have are common (deleted leads, a filtered export) and harmless;
# nearly all of them means that two ids do not match.
MOST_ORPHANS = 0.9

INSTANT_FIX = (
    "Write instants as 2024-05-31 or 2024-05-31T14:00:00Z, or convert in SQL: "
    "strptime({column}, '%d/%m/%Y') as {column}; epoch seconds: to_timestamp({column}) as {column}."
)


@dataclass(frozen=True)
class Rule:
    """One way for a row to be unusable."""

    name: str
    where: str
    "SQL that is true for the rows that break it, over `remaining_TABLE`."
    fix: str
    column: str = ""
    stops_above: float | None = None
    "Share of rows that stops the run; None: the configured one."
    shows_values: bool = False
    "The column's values are no one's data and may be shown in the message."

    @property
    def label(self) -> str:
        """Name for reports: the rule, with its column where there may be several."""
        return f"{self.name}:{self.column}" if self.column else self.name


def bad(column: str) -> str:
    """Return the SQL name of the flag: filled, but cannot be read."""
    return f'"bad:{column}"'


def day(column: str) -> str:
    """Return the SQL name of the flag: an instant without time of day."""
    return f'"day:{column}"'


def rules_of(
    spec: TableSpec, columns: list[str], texts: list[str], is_history: bool, now: str
) -> list[Rule]:
    """Return the rules of one table in the order in which they are tried.

    `columns` are all columns that make up a row, `texts` those that hold text; `is_history` says
    that rows have their own `recorded_at`; `now` is the loading instant as SQL.
    """
    return [
        *_cell_rules(spec, texts),
        *_time_rules(spec, now),
        *_duplicate_rules(spec, columns, is_history),
        *_table_rules(spec.name, now),
    ]


def _cell_rules(spec: TableSpec, texts: list[str]) -> list[Rule]:
    kinds = {**spec.required, **spec.optional, "recorded_at": "instant"}
    rules = [
        Rule("missing_id", f"{name} is null", "Fill it, or filter the rows in SQL.", name)
        for name, kind in spec.required.items()
        if kind == "id"
    ]
    if texts:
        nul = " or ".join(f"contains({quoted(name)}, chr(0))" for name in texts)
        rules.append(Rule("text_has_nul", nul, "Remove the NUL bytes from the export."))
    for name, kind in kinds.items():
        # An open opportunity's closed_at is ignored, so it may hold anything.
        closed = " and stage <> 'open'" if name == "closed_at" else ""
        if kind == "instant":
            given = '"given:recorded_at"' if name == "recorded_at" else name
            fix = INSTANT_FIX.format(column=name)
            rules.append(Rule("unreadable_instant", bad(name) + closed, fix, name))
            empty = "Such dates stand for an empty cell: leave it empty, or filter the rows in SQL."
            rules.append(Rule("instant_before_1980", f"{given} < {OLDEST}{closed}", empty, name))
        if kind == "number":
            fix = "Write numbers as 1234.5, without units or thousands separators."
            rules.append(Rule("unreadable_number", bad(name), fix, name))
    rules += [
        Rule("missing_required", f"{name} is null", "Fill it, or filter the rows in SQL.", name)
        for name, kind in spec.required.items()
        if kind != "id"
    ]
    return rules


def _time_rules(spec: TableSpec, now: str) -> list[Rule]:
    fix = "Check the clock or the time zone of the export; plans are not events."
    rules = [Rule("recorded_in_future", f'"given:recorded_at" > {now} + {FUTURE_SLACK}', fix)]
    if spec.own_time is not None and spec.name != "campaign_costs":  # budgets lie ahead
        where = f"{spec.own_time} > {now} + {FUTURE_SLACK}"
        rules.insert(0, Rule("occurred_in_future", where, fix, spec.own_time))
    return rules


def _duplicate_rules(spec: TableSpec, columns: list[str], is_history: bool) -> list[Rule]:
    table = f"remaining_{spec.name}"
    same_row = ", ".join(quoted(name) for name in columns)
    exact = "The row is there twice; one is kept."
    if spec.name == "opportunity_leads":
        where = later_of(table, "opportunity_id, lead_id", same_row, same_row)
        return [Rule("exact_duplicate_row", where, exact, stops_above=1.0)]
    if spec.name == "engagement_events":
        fix = "The same event_id twice: the first recorded is kept. Give each event its own."
        order = f"recorded_at, {same_row}"
        return [Rule("duplicate_event_id", later_of(table, "event_id", "event_id", order), fix)]
    if spec.key is None:
        return []
    # Several rows of a lead or account are its history when each says when it was recorded.
    key = f"{spec.key}, recorded_at" if spec.has_attributes and is_history else spec.key
    newest = "recorded_at desc, " if spec.name == "opportunities" else ""
    fix = (
        f"One row per {spec.key}"
        + (", or a history with recorded_at in each row" if spec.has_attributes else "")
        + "; a join in SQL may have multiplied them."
    )
    return [
        Rule(
            "exact_duplicate_row",
            later_of(table, key, same_row, same_row),
            exact,
            stops_above=1.0,
        ),
        Rule("duplicate_id", later_of(table, key, key, newest + same_row), fix, spec.key),
    ]


def later_of(table: str, key: str, partition: str, order: str) -> str:
    """Return SQL for all but the first row of each group, looking only at repeated keys.

    The order is by content, so the row that stays does not depend on the order in the file.
    """
    repeated = f"select {key} from {table} group by {key} having count(*) > 1"
    numbered = (
        f"select row, row_number() over (partition by {partition} order by {order}, row) as place"
        f" from {table} where ({key}) in ({repeated})"
    )
    return f"row in (select row from ({numbered}) where place > 1)"


def _table_rules(table: str, now: str) -> list[Rule]:
    if table == "opportunities":
        return _opportunity_rules(now)
    if table == "verdicts":
        known = ", ".join(f"'{verdict}'" for verdict in VERDICTS)
        fix = f"Map them in [tables.verdicts]; known: {', '.join(VERDICTS)}."
        where = f"verdict not in ({known})"
        unknown = Rule("unknown_verdict", where, fix, "verdict", shows_values=True)
        return [unknown, _orphans("verdict_of_unknown_lead")]
    if table == "engagement_events":
        return [_orphans("event_of_unknown_lead")]
    if table == "stage_changes":
        return [_orphans("stage_change_of_unknown_lead")]
    if table == "opportunity_leads":
        return [
            Rule(
                "unknown_opportunity",
                "opportunity_id not in (select opportunity_id from kept_opportunities)",
                "opportunity_leads and opportunities must use the same ids.",
                stops_above=MOST_ORPHANS,
            ),
            _orphans("contact_is_unknown_lead"),
        ]
    return []


def _opportunity_rules(now: str) -> list[Rule]:
    known = ", ".join(f"'{stage}'" for stage in OPPORTUNITY_STAGES)
    later = f"closed_at > {now} + {FUTURE_SLACK}"
    # A date without time of day may lie before the creation's time of the same day.
    earlier = (
        f"closed_at < case when {day('closed_at')} then date_trunc('day', created_at)"
        " else created_at end"
    )
    return [
        Rule(
            "unknown_stage",
            f"stage not in ({known})",
            f"Map them in [tables.opportunities]; known: {', '.join(OPPORTUNITY_STAGES)}.",
            "stage",
            shows_values=True,
        ),
        Rule(
            "closed_without_closed_at",
            "stage <> 'open' and closed_at is null",
            "A closed opportunity needs the instant it was closed.",
        ),
        Rule(
            "closed_in_future",
            f"stage <> 'open' and {later}",
            "A closed opportunity cannot close later than now; is closed_at the expected date?",
        ),
        Rule(
            "closed_before_created",
            f"stage <> 'open' and {earlier}",
            "If deals are entered after closing: least(created_at, closed_at) as created_at.",
        ),
    ]


def _orphans(name: str) -> Rule:
    return Rule(
        name,
        "lead_id not in (select lead_id from kept_leads)",
        "Its lead_id is in no row of leads; do both tables use the same ids?",
        stops_above=MOST_ORPHANS,
    )


def apply_rules(
    connection: duckdb.DuckDBPyConnection, table: str, rules: list[Rule]
) -> dict[str, int]:
    """Fill `rejected_TABLE (row, rule)` and return label -> rows set aside, where any."""
    connection.execute(f"create table rejected_{table} (row bigint, rule varchar)")
    connection.execute(
        f"create view remaining_{table} as from timed_{table}"
        f" where row not in (select row from rejected_{table})"
    )
    counts: dict[str, int] = {}
    for rule in rules:
        inserted = connection.execute(
            f"insert into rejected_{table}"
            f" select row, '{rule.label}' from remaining_{table} where {rule.where}"
        ).fetchone()
        assert inserted is not None
        if inserted[0]:
            counts[rule.label] = inserted[0]
    return counts


def refuse_malformed(table: str, malformed: int, rows_read: int, max_share: float) -> None:
    """Raise InputError if more than `max_share` of a file's lines are no rows."""
    if malformed > max_share * rows_read:
        raise InputError(
            f"{table}: {malformed:,} of {rows_read:,} lines have too few or too many cells (allowed"
            f" {max_share:.0%}). Export the file with quotes around texts."
        )


def refuse_too_many(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rules: list[Rule],
    counts: dict[str, int],
    rows_read: int,
    max_share: float,
) -> None:
    """Raise InputError for the first rule broken by more than its share of the table's rows."""
    for rule in rules:
        count = counts.get(rule.label, 0)
        allowed = max_share if rule.stops_above is None else rule.stops_above
        if not count or count <= allowed * rows_read:
            continue
        what = f"{table}.{rule.column}" if rule.column else table
        share = f"{count / rows_read:.1%}"
        shown = _offenders(connection, table, rule) if rule.shows_values else ""
        raise InputError(
            f"{what}{shown}: {count:,} of {rows_read:,} rows ({share}, allowed {allowed:.0%})"
            f" break the rule {rule.name}. {rule.fix}"
        )


def _offenders(connection: duckdb.DuckDBPyConnection, table: str, rule: Rule) -> str:
    """Return ' has 2 unknown values: "Verbal", "Won?"', without values that look like texts."""
    rows = connection.execute(
        f'select "said:{rule.column}" from timed_{table} where row in'
        f" (select row from rejected_{table} where rule = '{rule.label}')"
        " group by 1 order by count(*) desc, 1"
    ).fetchall()
    # A handful of short words are stages; many, or long ones, are another column by mistake.
    words = [row[0] for row in rows if re.fullmatch(r"[^\W\d_][\w ?!./&-]{0,30}", row[0])]
    listed = ", ".join(f'"{word}"' for word in words[:3]) if len(rows) <= 20 else ""
    plural = "value" if len(rows) == 1 else "values"
    return f" has {len(rows):,} unknown {plural}" + (f": {listed}" if listed else "")
