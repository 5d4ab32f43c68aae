"""The gate with its scopes and cohorts, the audit, the fleet's pulse."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    "ALTER TABLE gate ADD COLUMN cohort integer NOT NULL DEFAULT 0",
    "ALTER TABLE gate ADD COLUMN cohort_at timestamptz NOT NULL DEFAULT now()",
    "ALTER TABLE run ADD COLUMN gate_scope text",
    "ALTER TABLE run ADD COLUMN gate_mode text",
    """
    CREATE INDEX run_at_gate ON run
        (coalesce(gate_scope, 'fleet'), coalesce(gate_mode, 'open'), id)
     WHERE status = 'waiting' AND waiting_for = 'gate'
    """,
    """
    CREATE INDEX ledger_unanswered ON ledger_entry (run_id)
     WHERE state IN ('reserved', 'in_doubt')
    """,
    "CREATE INDEX ledger_tried_again ON ledger_entry (quiet_at) WHERE tries > 1",
    "ALTER TABLE worker ADD COLUMN safe_mode boolean NOT NULL DEFAULT false",
    "ALTER TABLE contract ADD COLUMN tools json NOT NULL DEFAULT '[]'",
    "ALTER TABLE api_key ADD COLUMN operator boolean NOT NULL DEFAULT false",
    """
    CREATE TABLE audit (
        seq    bigint      PRIMARY KEY,
        at     timestamptz NOT NULL,
        who    text        NOT NULL,
        act    varchar(40) NOT NULL,
        about  json        NOT NULL,
        before bytea       NOT NULL,
        hash   bytea       NOT NULL)
    """,
    """
    CREATE FUNCTION audit_stands() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit is only ever added to';
    END $$
    """,
    """
    CREATE TRIGGER audit_stands BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
       FOR EACH STATEMENT EXECUTE FUNCTION audit_stands()
    """,
    """
    CREATE TABLE pulse (
        worker   uuid           NOT NULL,
        since    timestamptz    NOT NULL,
        ended    integer        NOT NULL,
        failed   integer        NOT NULL,
        usd      numeric(14, 8) NOT NULL,
        PRIMARY KEY (since, worker))
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
