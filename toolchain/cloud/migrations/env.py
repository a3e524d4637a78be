"""Alembic's entry: run the migrations on the connection that `Database` hands over."""

from alembic import context

from mnet.toolchain.cloud.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
