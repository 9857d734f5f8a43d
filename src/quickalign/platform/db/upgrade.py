"""Bring a database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from quickalign.core.errors import ConflictError


def upgrade(connection: Connection, *, alone: bool = True) -> None:
    """Run the migrations that this database does not have yet, in the transaction of `connection`.

    Raises:
        ConflictError: the database was written by a newer quickalign, or older servers use it, which only one that is
            `alone` may take the old schema from.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise ConflictError(
            f"The database has the schema {current}, which this version of quickalign does not know.",
            "Use the version that wrote it, or a newer one.",
        )
    if not alone:
        raise ConflictError(
            f"Other servers use this database with the schema {current} of an older version of quickalign.",
            "Stop them all, then start those of the new version.",
        )
    command.upgrade(config, "head")
