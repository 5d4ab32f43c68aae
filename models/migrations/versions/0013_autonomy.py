"""Levels of autonomy, what a run was allowed, and what people's verdicts came to."""

from alembic import op

revision = "0013"
down_revision = "0012"

STATEMENTS = (
    """
    CREATE TABLE autonomy (
        tenant   text        NOT NULL,
        pipeline text        NOT NULL,
        level    varchar(40) NOT NULL,
        who      text        NOT NULL,
        reason   text        NOT NULL,
        set_at   timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, pipeline))
    """,
    """
    CREATE TABLE agreement (
        pipeline text        NOT NULL,
        tenant   text        NOT NULL,
        tool     text        NOT NULL,
        asked    varchar(40) NOT NULL,
        day      timestamptz NOT NULL,
        approved bigint      NOT NULL DEFAULT 0,
        edited   bigint      NOT NULL DEFAULT 0,
        rejected bigint      NOT NULL DEFAULT 0,
        expired  bigint      NOT NULL DEFAULT 0,
        writes   bigint      NOT NULL DEFAULT 0,
        undone   bigint      NOT NULL DEFAULT 0,
        PRIMARY KEY (pipeline, tenant, tool, asked, day))
    """,
    "ALTER TABLE run ADD COLUMN autonomy varchar(40), ADD COLUMN level varchar(40)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
