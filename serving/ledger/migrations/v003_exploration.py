"""Which MQLs were handed over by lot, below the cutoff."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v003"
down_revision = "v002"


def upgrade() -> None:
    """Add the mark; of what is there already, nothing was."""
    for table in ("mqls", "latest"):
        mark = sa.Column("is_exploration", sa.Boolean, nullable=False, server_default=sa.false())
        op.add_column(table, mark)
