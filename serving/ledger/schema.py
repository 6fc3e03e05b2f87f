"""The ledger's tables. Instants are microseconds since 1970, UTC.

A change here needs a revision in `migrations/`, and its name in `HEAD`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
)

HEAD = "v003"
"The newest revision: a ledger at this one is opened without importing alembic."
VERSION_TABLE = "closedwon_ledger_version"

APPEND_ONLY = ("scores", "mqls", "verdicts", "contacts")
"Their rows are never changed, and deleted only with everything else of a lead."
OF_A_LEAD = (*APPEND_ONLY, "latest")
"Tables with rows about a lead."

metadata = MetaData()

models = Table(
    "models",
    metadata,
    Column("model_key", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    # The rest of a ModelRecord, as JSON: the names of the values in `scores`.
    Column("about", Text, nullable=False),
)

scores = Table(
    "scores",
    metadata,
    Column("score_id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("account_id", Text),
    Column("as_of", BigInteger, nullable=False),
    Column("scored_at", BigInteger, nullable=False),
    Column("model_key", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("is_backfill", Boolean, nullable=False),
    Column("is_eligible", Boolean, nullable=False),
    Column("probability", Double, nullable=False),
    Column("raw_score", Double, nullable=False),
    Column("cutoff", Double),
    Column("grade", Text, nullable=False),
    Column("qualified", Boolean, nullable=False),
    Column("track", Text, nullable=False),
    Column("why", Text, nullable=False),
    # JSON: list of text; null where the score is complete.
    Column("unknown", Text),
    # Little-endian float32 of each number feature, float64 of each concept. Probability points
    # follow from the latter.
    Column("numbers", LargeBinary, nullable=False),
    Column("log_odds", LargeBinary, nullable=False),
    # JSON.
    Column("categories", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("change", Text),
    Column("crossing", Text),
)
Index("scores_of_lead", scores.c.lead_id, scores.c.as_of)

mqls = Table(
    "mqls",
    metadata,
    Column("score_id", Text, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("mql_at", BigInteger, nullable=False),
    # Below the cutoff, and handed over by lot.
    Column("is_exploration", Boolean, nullable=False, server_default=false()),
)
Index("mqls_of_lead", mqls.c.lead_id, mqls.c.mql_at)

verdicts = Table(
    "verdicts",
    metadata,
    Column("verdict_id", Integer, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("mql_score_id", Text, nullable=False),
    # The score that sales looked at; the MQL's own unless told.
    Column("score_id", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason_code", Text),
    Column("decided_at", BigInteger, nullable=False),
    Column("key_id", Text),
)
Index("verdicts_of_lead", verdicts.c.lead_id)

contacts = Table(
    "contacts",
    metadata,
    Column("contact_id", Integer, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("mql_score_id", Text, nullable=False),
    Column("contacted_at", BigInteger, nullable=False),
    Column("key_id", Text),
)
Index("contacts_of_lead", contacts.c.lead_id)

# Derived from the tables above, for speed: the newest score of each lead that is no backfill,
# and how far its newest MQL is.
latest = Table(
    "latest",
    metadata,
    Column("lead_id", Text, primary_key=True),
    Column("score_id", Text, nullable=False),
    Column("account_id", Text),
    Column("as_of", BigInteger, nullable=False),
    Column("scored_at", BigInteger, nullable=False),
    Column("probability", Double, nullable=False),
    Column("grade", Text, nullable=False),
    Column("qualified", Boolean, nullable=False),
    Column("state", Text),
    Column("mql_score_id", Text),
    Column("mql_at", BigInteger),
    # The newest verdict, the first `accepted` and the first contact of the newest MQL.
    Column("answered_at", BigInteger),
    Column("accepted_at", BigInteger),
    Column("contacted_at", BigInteger),
    # JSON. Only the newest is kept: with every score it would be most of the ledger.
    Column("timeline", Text, nullable=False),
    # Of the newest MQL.
    Column("is_exploration", Boolean, nullable=False, server_default=false()),
)
# Holds all that the list filters by, so that skipped leads are never looked up in the table.
Index(
    "latest_ranked",
    latest.c.probability.desc(),
    latest.c.lead_id,
    latest.c.grade,
    latest.c.qualified,
    latest.c.account_id,
)
Index(
    "latest_handoffs",
    latest.c.state,
    latest.c.probability.desc(),
    latest.c.lead_id,
    sqlite_where=latest.c.state.is_not(None),
    postgresql_where=latest.c.state.is_not(None),
)

# A lead that is being erased: the triggers of the append-only tables let its rows go.
erasing = Table("erasing", metadata, Column("lead_id", Text, primary_key=True))

# Leads that were erased within a day: their older scores may still wait in a server's queue.
erased = Table(
    "erased",
    metadata,
    Column("lead_sha256", Text, primary_key=True),
    Column("erased_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False),
    # Separated by blanks.
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)
