"""Recovery and retention: steady workers, cancelling, listed doubts, the timeline, tombstones."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "ALTER TABLE worker ADD COLUMN steady_since timestamptz NOT NULL DEFAULT now()",
    "ALTER TABLE run ADD COLUMN cancel_requested_at timestamptz",
    "ALTER TABLE run ADD COLUMN key text",
    "UPDATE run SET key = k.key FROM request_key k WHERE k.run_id = run.id",
    """
    CREATE INDEX run_cancelled ON run (id)
     WHERE cancel_requested_at IS NOT NULL AND status <> 'finished'
    """,
    "CREATE INDEX run_suspect ON run (dispatch_at) WHERE status = 'queued' AND crashes >= 2",
    """
    CREATE INDEX run_paging ON run (finished_at)
     WHERE stop_reason IN ('tool_auth_failed', 'in_doubt', 'replay_mismatch', 'crashes_exhausted',
                           'internal_error')
    """,
    "ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_state_check",
    """
    ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_state_check CHECK (
        state IN ('reserved', 'released', 'settled', 'rejected', 'in_doubt', 'undone'))
    """,
    "ALTER TABLE ledger_entry ADD COLUMN quiet_at timestamptz",
    "CREATE INDEX ledger_in_doubt ON ledger_entry (run_id) WHERE state = 'in_doubt'",
    """
    CREATE TABLE timeline (
        one      boolean     PRIMARY KEY DEFAULT true CHECK (one),
        system   text        NOT NULL,
        number   integer     NOT NULL,
        since    timestamptz NOT NULL DEFAULT now())
    """,
    """
    CREATE TABLE notice (
        id       text        PRIMARY KEY,
        kind     varchar(40) NOT NULL,
        told     text        NOT NULL,
        since    timestamptz NOT NULL DEFAULT now(),
        tries    integer     NOT NULL DEFAULT 0,
        next_try timestamptz NOT NULL DEFAULT now(),
        sent_at  timestamptz)
    """,
    """
    CREATE TABLE tombstone (
        run_id      uuid        PRIMARY KEY,
        tenant      text        NOT NULL,
        key         text        NOT NULL,
        pipeline    text        NOT NULL,
        version     integer     NOT NULL,
        stop_reason varchar(40) NOT NULL,
        created_at  timestamptz NOT NULL,
        finished_at timestamptz NOT NULL,
        purged_at   timestamptz NOT NULL DEFAULT now())
    """,
    "CREATE INDEX tombstone_age ON tombstone (finished_at)",
    "CREATE INDEX refusal_age ON refusal (refused_at)",
    "ALTER TABLE run SET (autovacuum_vacuum_scale_factor = 0.02)",
    "ALTER TABLE ledger_entry SET (autovacuum_vacuum_scale_factor = 0.02)",
    "ALTER TABLE request_key SET (autovacuum_vacuum_scale_factor = 0.02)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
