"""Transcripts: what models were asked, and what they said."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS = (
    """
    CREATE TABLE transcript (
        id          bigint         GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id      uuid           NOT NULL,
        step        text           NOT NULL,
        tool        text           NOT NULL,
        asked       text           NOT NULL,
        reported    text           NOT NULL,
        prompt      json           NOT NULL,
        prompt_hash bytea          NOT NULL,
        response    json           NOT NULL,
        tokens_in   integer        NOT NULL,
        tokens_out  integer        NOT NULL,
        latency_ms  integer        NOT NULL,
        cost_usd    numeric(14, 8) NOT NULL DEFAULT 0,
        prices      text           NOT NULL,
        created_at  timestamptz    NOT NULL DEFAULT now())
    """,
    "CREATE INDEX transcript_run ON transcript (run_id)",
    "CREATE INDEX transcript_age ON transcript (created_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
