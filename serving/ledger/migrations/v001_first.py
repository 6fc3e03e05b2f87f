"""The first tables, and the triggers that keep the append-only ones as they were written."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "v001"
down_revision = None

_APPEND_ONLY = ("scores", "mqls", "verdicts", "contacts")


def upgrade() -> None:
    """Make everything."""
    _make_scores()
    _make_handoffs()
    _make_latest()
    op.create_table("erasing", sa.Column("lead_id", sa.Text, primary_key=True))
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _APPEND_ONLY:
        for statement in _sqlite_triggers(table) if is_sqlite else _postgres_triggers(table):
            op.execute(sa.text(statement))


def _make_scores() -> None:
    op.create_table(
        "models",
        sa.Column("model_key", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
    )
    op.create_table(
        "scores",
        sa.Column("score_id", sa.Text, primary_key=True),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("scored_at", sa.BigInteger, nullable=False),
        sa.Column("model_key", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("is_backfill", sa.Boolean, nullable=False),
        sa.Column("is_eligible", sa.Boolean, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("raw_score", sa.Double, nullable=False),
        sa.Column("cutoff", sa.Double),
        sa.Column("grade", sa.Text, nullable=False),
        sa.Column("qualified", sa.Boolean, nullable=False),
        sa.Column("track", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("unknown", sa.Text),
        sa.Column("numbers", sa.LargeBinary, nullable=False),
        sa.Column("log_odds", sa.LargeBinary, nullable=False),
        sa.Column("categories", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("change", sa.Text),
        sa.Column("crossing", sa.Text),
    )
    op.create_index("scores_of_lead", "scores", ["lead_id", "as_of"])


def _make_handoffs() -> None:
    op.create_table(
        "mqls",
        sa.Column("score_id", sa.Text, primary_key=True),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("mql_at", sa.BigInteger, nullable=False),
    )
    op.create_index("mqls_of_lead", "mqls", ["lead_id", "mql_at"])
    op.create_table(
        "verdicts",
        sa.Column("verdict_id", sa.Integer, primary_key=True),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("mql_score_id", sa.Text, nullable=False),
        sa.Column("score_id", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reason_code", sa.Text),
        sa.Column("decided_at", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.Text),
    )
    op.create_index("verdicts_of_lead", "verdicts", ["lead_id"])
    op.create_table(
        "contacts",
        sa.Column("contact_id", sa.Integer, primary_key=True),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("mql_score_id", sa.Text, nullable=False),
        sa.Column("contacted_at", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.Text),
    )
    op.create_index("contacts_of_lead", "contacts", ["lead_id"])


def _make_latest() -> None:
    op.create_table(
        "latest",
        sa.Column("lead_id", sa.Text, primary_key=True),
        sa.Column("score_id", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("scored_at", sa.BigInteger, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("grade", sa.Text, nullable=False),
        sa.Column("qualified", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("mql_score_id", sa.Text),
        sa.Column("mql_at", sa.BigInteger),
        sa.Column("answered_at", sa.BigInteger),
        sa.Column("accepted_at", sa.BigInteger),
        sa.Column("contacted_at", sa.BigInteger),
        sa.Column("timeline", sa.Text, nullable=False),
    )
    ranked: list[Any] = [sa.text("probability DESC"), "lead_id"]
    op.create_index("latest_ranked", "latest", [*ranked, "grade", "qualified", "account_id"])
    has_state = sa.text("state IS NOT NULL")
    op.create_index(
        "latest_handoffs",
        "latest",
        ["state", *ranked],
        sqlite_where=has_state,
        postgresql_where=has_state,
    )


def _sqlite_triggers(table: str) -> list[str]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    erased = "EXISTS (SELECT 1 FROM erasing WHERE lead_id = OLD.lead_id)"
    return [
        f"CREATE TRIGGER {table}_never_change BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_never_go BEFORE DELETE ON {table} WHEN NOT {erased} {refuse}",
    ]


def _postgres_triggers(table: str) -> list[str]:
    return [
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM erasing WHERE lead_id = OLD.lead_id) "
        f"THEN RETURN OLD; END IF; RAISE EXCEPTION '{table} is append-only'; END $$",
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_append_only()",
    ]
