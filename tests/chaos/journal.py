"""A journal: the test's own triggers write down every change of a run and of a step."""

from typing import Any
from uuid import UUID, uuid4

from models.database import hot
from tests.chaos.rows import EntrySeen, History, RunSeen
from tests.desk_record import DeskRecord

INSTALL = """
    CREATE SCHEMA chaos;
    CREATE SEQUENCE chaos.seq;
    CREATE TABLE chaos.run_seen AS
        SELECT 0::bigint AS seq, now() AS at, ''::text AS writer, id AS run_id, status::text,
               attempt, stop_reason::text, waiting_for::text, crashes
          FROM run WITH NO DATA;
    CREATE TABLE chaos.entry_seen AS
        SELECT 0::bigint AS seq, now() AS at, ''::text AS writer, run_id, step, kind::text,
               state::text, attempt, tries, result, effect::text
          FROM ledger_entry WITH NO DATA;
    CREATE INDEX ON chaos.run_seen (run_id);
    CREATE INDEX ON chaos.entry_seen (run_id);
    CREATE FUNCTION chaos.see_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO chaos.run_seen VALUES
            (nextval('chaos.seq'), clock_timestamp(), session_user, NEW.id, NEW.status,
             NEW.attempt, NEW.stop_reason, NEW.waiting_for, NEW.crashes);
        RETURN NULL; END $$;
    CREATE FUNCTION chaos.see_entry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO chaos.entry_seen VALUES
            (nextval('chaos.seq'), clock_timestamp(), session_user, NEW.run_id, NEW.step, NEW.kind,
             NEW.state, NEW.attempt, NEW.tries, NEW.result, NEW.effect);
        RETURN NULL; END $$;
    CREATE TRIGGER seen_new AFTER INSERT ON run FOR EACH ROW EXECUTE FUNCTION chaos.see_run();
    CREATE TRIGGER seen_changed AFTER UPDATE ON run FOR EACH ROW
        WHEN (OLD.status <> NEW.status OR OLD.attempt <> NEW.attempt)
        EXECUTE FUNCTION chaos.see_run();
    CREATE TRIGGER seen AFTER INSERT OR UPDATE ON ledger_entry
        FOR EACH ROW EXECUTE FUNCTION chaos.see_entry();
"""
"""The row lock under which a trigger fires makes the sequence the true order of each run's rows."""

_RUNS = """
    SELECT seq, extract(epoch FROM at)::float, writer, run_id::text, status, attempt, stop_reason,
           waiting_for, crashes
      FROM chaos.run_seen WHERE $1::uuid IS NULL OR run_id = $1 ORDER BY seq
"""
_ENTRIES = """
    SELECT seq, extract(epoch FROM at)::float, writer, run_id::text, step, kind, state, attempt,
           tries, result, effect
      FROM chaos.entry_seen WHERE $1::uuid IS NULL OR run_id = $1 ORDER BY seq
"""
_WORKERS = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'worker\\_%'"


async def newcomer(connection: Any) -> str:
    """A name at the database for one more worker process; its writes carry it."""
    name = f"worker_{uuid4().hex[:12]}"
    await connection.execute(f"CREATE ROLE {name} SUPERUSER LOGIN")
    return name


async def forget_newcomers(connection: Any) -> None:
    """Names belong to the server, not to the database."""
    for row in await connection.fetch(_WORKERS):
        await connection.execute(f"DROP ROLE {row[0]}")


async def read(record: DeskRecord, run_id: UUID | None = None) -> History:
    """The history of one run, or of all."""
    whole = History(
        [RunSeen(*row) for row in await hot().fetch(_RUNS, run_id)],
        [EntrySeen(*row) for row in await hot().fetch(_ENTRIES, run_id)],
        record.requests(),
        record.tickets(),
        frozenset(row[0] for row in await hot().fetch(_WORKERS)),
    )
    return whole if run_id is None else whole.of(str(run_id))
