"""Approvals, labels, the policy that judged a call; refusals and sensitive calls for the audit."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    "ALTER TABLE ledger_entry ADD COLUMN policy text, ADD COLUMN labels json",
    """
    ALTER TABLE review ADD COLUMN args_hash bytea, ADD COLUMN use_by timestamptz,
                       ADD COLUMN used_at timestamptz
    """,
    "DROP INDEX review_of_step",
    "CREATE UNIQUE INDEX review_of_step ON review (run_id, step, kind)",
    """
    CREATE TABLE call_audit (
        id        uuid        PRIMARY KEY,
        at        timestamptz NOT NULL DEFAULT now(),
        run_id    uuid        NOT NULL,
        tenant    text        NOT NULL,
        step      text        NOT NULL,
        tool      text        NOT NULL,
        guard     varchar(40) NOT NULL,
        reason    text        NOT NULL,
        told      text        NOT NULL,
        args_hash bytea       NOT NULL,
        policy    text        NOT NULL,
        sealed    bigint)
    """,
    "CREATE INDEX call_audit_unsealed ON call_audit (id) WHERE sealed IS NULL",
    "CREATE INDEX call_audit_sealed ON call_audit (sealed, id)",
    "CREATE INDEX call_audit_of_run ON call_audit (run_id)",
    """
    CREATE TABLE guard (
        name       text        PRIMARY KEY,
        refused    bigint      NOT NULL DEFAULT 0,
        last_at    timestamptz,
        proven_at  timestamptz,
        proven     boolean,
        told       text        NOT NULL DEFAULT '')
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
