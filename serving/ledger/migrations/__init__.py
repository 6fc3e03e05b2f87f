"""Alembic revisions of the ledger's database, the oldest first by name."""
