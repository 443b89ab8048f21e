"""What Alembic runs: the steps, in the transaction that `migrations.run` opened and holds the lock in."""

from alembic import context

from app.db.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
