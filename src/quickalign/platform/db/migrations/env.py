"""How Alembic reaches the database: by the connection that `upgrade` hands over."""

from alembic import context

from quickalign.platform.db import cloud_tables, server_tables, service_tables  # noqa: F401 - of the metadata
from quickalign.platform.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
