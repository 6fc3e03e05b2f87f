"""Alembic, run from code; imported only where a ledger is new or behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def revisions() -> ScriptDirectory:
    """Return the revisions that this closedwon knows."""
    folder = str(Path(__file__).parent / "migrations")
    return ScriptDirectory(folder, version_locations=[folder])


def upgrade(connection: Connection, version_table: str) -> bool:
    """Bring a ledger to the newest revision; False where it is at one that we do not know.

    Everything happens in the connection's transaction, so it happens whole or not at all.
    """
    script = revisions()

    def steps(heads: tuple[str, ...], _: MigrationContext) -> Iterable[MigrationStep]:
        missing = list(script.iterate_revisions("head", heads or "base"))
        return [
            MigrationStep.upgrade_from_script(script.revision_map, revision)
            for revision in reversed(missing)
        ]

    options: dict[str, Any] = {"version_table": version_table, "fn": steps}
    context = MigrationContext.configure(connection, opts=options)
    known = {revision.revision for revision in script.walk_revisions()}
    if not set(context.get_current_heads()) <= known:
        return False
    with Operations.context(context):
        context.run_migrations()
    return True
