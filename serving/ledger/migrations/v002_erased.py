"""When a lead was erased, so that no score that waits in a queue brings it back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v002"
down_revision = "v001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "erased",
        sa.Column("lead_sha256", sa.Text, primary_key=True),
        sa.Column("erased_at", sa.BigInteger, nullable=False),
    )
