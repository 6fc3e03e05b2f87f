"""Which part each row goes to: what an account, a merge or an opportunity links stays together."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from features.facts.histories import Int64s
from features.facts.records import AccountFrom, account_column, refuse_without_domain
from features.loading.sources import fetch

PART = "closedwon_part"
"The column of the part while rows are written; none of the contract's or the user's."

# Table -> the kind of thing whose part its rows go to. Costs of campaigns are nobody's.
OWNERS = {
    "leads": "lead",
    "accounts": "account",
    "engagement_events": "lead",
    "opportunities": "opportunity",
    "opportunity_leads": "opportunity",
    "stage_changes": "lead",
    "verdicts": "lead",
}

# Bytes at the peak of computing a part, roughly: 20 million events and 10 million snapshots
# stayed below twice the memory setting with them.
EVENT_BYTES = 500
LEAD_BYTES = 2_000
LEAD_WEEK_BYTES = 100

MOST_PARTS = 500
"Each is a file that is written while the others are."


def place_rows(
    connection: duckdb.DuckDBPyConnection,
    account_from: AccountFrom,
    data_until: pd.Timestamp,
    part_bytes: float,
    least_parts: int = 1,
) -> int:
    """Make the tables `KIND_places (id, code, part)` and return how many parts there are.

    KIND is lead, account or opportunity. A lead's code is its rank among all leads. Parts are about
    equally large and hold whole components, drawn by chance; one that is larger than a part is a
    part of its own.
    """
    _code_nodes(connection, account_from)
    component = _components(connection)
    cost = _costs(connection, data_until, len(component))
    parts = min(MOST_PARTS, max(least_parts, int(np.ceil(cost.sum() / part_bytes))))
    part = _cut(component, cost, parts)
    _register(connection, "node_parts", pd.DataFrame({"code": np.arange(len(part)), PART: part}))
    for kind in ("lead", "account", "opportunity"):
        connection.execute(
            f"create table {kind}_places as from {kind}_nodes join node_parts using (code)"
        )
    return int(part.max(initial=0)) + 1


def _code_nodes(connection: duckdb.DuckDBPyConnection, account_from: AccountFrom) -> None:
    """Make `KIND_nodes (id, code)`: leads first, by id, then accounts, then opportunities."""
    if account_from == "account_id":
        connection.execute(
            "create table lead_accounts as select distinct lead_id, account_id from kept_leads"
            " where account_id is not null"
        )
    else:
        described = connection.execute("describe kept_leads").fetchall()
        refuse_without_domain(str(row[0]) for row in described)
        # by the very function that snapshots use, since texts fold in more than one way
        given = fetch(connection, "select distinct email_domain from kept_leads")
        given["account_id"] = account_column(given, account_from)
        _register(connection, "domains", given)
        connection.execute(
            "create table lead_accounts as select distinct lead_id, domains.account_id"
            " from kept_leads join domains using (email_domain)"
            " where domains.account_id is not null"
        )
    taken = 0
    for kind, ids in (
        ("lead", "select lead_id as id from kept_leads"),
        (
            "account",
            "select account_id as id from kept_accounts union select account_id from"
            " lead_accounts union select account_id from kept_opportunities",
        ),
        ("opportunity", "select opportunity_id as id from kept_opportunities"),
    ):
        counted = connection.execute(
            f"create table {kind}_nodes as select id, row_number() over (order by id) - 1 + {taken}"
            f" as code from (select distinct id from ({ids}) where id is not null)"
        ).fetchone()
        assert counted is not None
        taken += counted[0]


# Pairs of things that stay together, as (kind, id) each.
_LINKS = (
    ("lead_accounts", "lead", "lead_id", "account", "account_id"),
    ("kept_leads", "lead", "lead_id", "lead", "merged_into"),
    ("kept_opportunities", "opportunity", "opportunity_id", "lead", "lead_id"),
    ("kept_opportunities", "opportunity", "opportunity_id", "account", "account_id"),
    ("kept_opportunity_leads", "opportunity", "opportunity_id", "lead", "lead_id"),
)


def _components(connection: duckdb.DuckDBPyConnection) -> Int64s:
    """Return the component of each node, numbered in the order of their first nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # One query each: all of them as one `union all` never ended in 800 MB (DuckDB 1.5.6).
    links = [
        fetch(
            connection,
            f"select a.code as a, b.code as b from (select {a} as a_id, {b} as b_id from {table}"
            f" where {b} is not null) join {a_kind}_nodes a on a.id = a_id"
            f" join {b_kind}_nodes b on b.id = b_id",
        )
        for table, a_kind, a, b_kind, b in _LINKS
    ]
    pairs = pd.concat(links)
    size = _count(connection, "lead") + _count(connection, "account")
    size += _count(connection, "opportunity")
    ends = (pairs["a"].to_numpy(), pairs["b"].to_numpy())
    graph = coo_array((np.ones(len(pairs), np.int8), ends), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return np.asarray(pd.factorize(component)[0], dtype=np.int64)


def _costs(connection: duckdb.DuckDBPyConnection, data_until: pd.Timestamp, n_nodes: int) -> Int64s:
    """Return what each node costs in bytes: a lead's events, its weeks and itself."""
    counted = connection.execute(
        "select code, n_events, weeks from lead_nodes"
        " join (select lead_id as id, greatest(0, date_diff('day', min(created_at),"
        f" timestamp '{data_until}') // 7) as weeks from kept_leads group by lead_id) using (id)"
        " left join (select lead_id as id, count(*) as n_events from kept_engagement_events"
        " group by lead_id) using (id)"
    ).to_arrow_table()
    cost = np.zeros(n_nodes, np.int64)
    events = counted["n_events"].fill_null(0).to_numpy()
    weeks = counted["weeks"].to_numpy()
    cost[counted["code"].to_numpy()] = events * EVENT_BYTES + weeks * LEAD_WEEK_BYTES + LEAD_BYTES
    return cost


def _cut(component: Int64s, cost: Int64s, parts: int) -> Int64s:
    """Return the part of each node: components that together cost about as much in each part.

    Components are shuffled, the same way every time, since ids grow with time: each part is a
    fair sample of the accounts.
    """
    if not len(component):
        return np.empty(0, np.int64)
    of_component = np.bincount(component, weights=cost)
    shuffled = np.random.default_rng(0).permutation(len(of_component))
    before = np.empty_like(of_component)
    before[shuffled] = np.cumsum(of_component[shuffled]) - of_component[shuffled]
    part = np.minimum(before * parts // max(of_component.sum(), 1), parts - 1).astype(np.int64)
    # A component larger than a part leaves the next ones without any.
    dense = np.unique(part, return_inverse=True)[1]
    return np.asarray(dense[component], dtype=np.int64)


def _count(connection: duckdb.DuckDBPyConnection, kind: str) -> int:
    counted = connection.execute(f"select count(*) from {kind}_nodes").fetchone()
    assert counted is not None
    return int(counted[0])


def _register(connection: duckdb.DuckDBPyConnection, name: str, rows: pd.DataFrame) -> None:
    """Make the table `name` from a frame."""
    connection.register("given_rows", pa.Table.from_pandas(rows, preserve_index=False))
    connection.execute(f"create table {name} as from given_rows")
    connection.unregister("given_rows")
