"""Forks begin with a part of another run's record; runs and steps change only as they may."""

from alembic import op

revision = "0014"
down_revision = "0013"

STATEMENTS = (
    "ALTER TABLE run ADD COLUMN forked_from uuid",
    "ALTER TABLE ledger_entry ADD COLUMN copied_from uuid",
    # The arrows of RunStatus and EntryState, as what they leave out. The conditions are in WHEN,
    # so that a legal change calls no function.
    """
    CREATE FUNCTION no_such_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        was json := row_to_json(OLD);
        new_ json := row_to_json(NEW);
    BEGIN
        RAISE EXCEPTION '%: what is % may not become %', TG_ARGV[0],
                        was ->> TG_ARGV[1], new_ ->> TG_ARGV[1]
              USING ERRCODE = 'SL001', DETAIL = was ->> TG_ARGV[2];
    END $$
    """,
    """
    CREATE TRIGGER run_transitions BEFORE UPDATE OF status ON run FOR EACH ROW
      WHEN (NEW.status <> OLD.status
            AND (OLD.status = 'finished'
                 OR OLD.status = 'queued' AND NEW.status = 'waiting'
                 OR OLD.status = 'waiting' AND NEW.status = 'running'))
      EXECUTE FUNCTION no_such_transition('a run', 'status', 'id')
    """,
    """
    CREATE TRIGGER ledger_transitions BEFORE UPDATE OF state ON ledger_entry FOR EACH ROW
      WHEN (NEW.state <> OLD.state
            AND (OLD.state IN ('rejected', 'undone')
                 OR OLD.state = 'settled' AND NEW.state <> 'undone'))
      EXECUTE FUNCTION no_such_transition('a step', 'state', 'run_id')
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
