"""Connections: whose target is where, and where its secret is to be found."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    """
    CREATE TABLE connection (
        tenant     text        NOT NULL,
        name       text        NOT NULL,
        base_url   text        NOT NULL,
        login      text        NOT NULL DEFAULT '',
        secret     text        NOT NULL DEFAULT '',
        private    boolean     NOT NULL DEFAULT false,
        who        text        NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, name),
        CONSTRAINT connection_refers CHECK (secret = '' OR secret ~ '^(env:|file:/)'))
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
