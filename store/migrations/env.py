"""What Alembic runs to take a step: on the connection, and in the transaction, that `schema` hands it."""

from __future__ import annotations

from alembic import context

__all__ = ["run"]


def run() -> None:
    """Take the steps that the command asked for."""
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


# Alembic loads this file under that name; whoever else imports it (a test of every module) takes no step.
if __name__ == "env_py":
    run()
