"""Breakers, and what waits for them."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    """
    CREATE TABLE breaker (
        tool     text        PRIMARY KEY,
        state    varchar(40) NOT NULL,
        epoch    bigint      NOT NULL DEFAULT 0,
        openings integer     NOT NULL DEFAULT 0,
        since    timestamptz NOT NULL DEFAULT now(),
        until    timestamptz,
        told     text        NOT NULL DEFAULT '',
        forced   varchar(40),
        who      text        NOT NULL DEFAULT '',
        reason   text        NOT NULL DEFAULT '')
    """,
    """
    CREATE INDEX run_at_breaker ON run (id)
     WHERE status = 'queued' AND waiting_for = 'breaker'
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
