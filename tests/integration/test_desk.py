"""The local desk, on a real PostgreSQL."""

import asyncio
import shutil
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from uuid import uuid4

import asyncpg
import pytest

from config import embedded
from models import database, migrate
from models.run import StopReason
from tools.tickets.desk import LocalDesk
from tools.tickets.form import NewTicket, Priority, Ticket, TicketRef
from tools.tool import Ambiguous, Call, Lookup, Rejected, Sighting, Unavailable

DESK = LocalDesk()
CONNECTIONS = 3


@pytest.fixture(scope="module")
def servers():
    place = Path(tempfile.mkdtemp(prefix="sluice-desk-", dir="/tmp"))
    place.chmod(0o755)
    yield embedded.start(place)
    embedded.stop(place)
    shutil.rmtree(place)


@pytest.fixture(scope="module", autouse=True)
async def other(servers):
    """A connection beside the desk's own pool."""
    url = servers.database_url
    connection = await asyncpg.connect(database.dsn(url))
    await migrate.upgrade(url)
    await database.open_database(url, connections=CONNECTIONS)
    yield connection
    opened = database._open.pop()
    await opened.engine.dispose()
    await opened.pool.close()
    await connection.close()


def a_call(lasts_s: float = 5, leaves_within_s: float = 2) -> Call:
    run, now = uuid4(), monotonic()
    return Call(run, "acme", "apply", f"{run}:apply", now + lasts_s, now + leaves_within_s)


def a_ticket(**fields) -> NewTicket:
    return NewTicket(external_ref=f"bank:{uuid4()}", title="Card not arrived", **fields)


async def row(other, args: NewTicket) -> asyncpg.Record:
    return await other.fetchrow(
        "SELECT * FROM desk_ticket WHERE external_ref = $1", args.external_ref
    )


async def its_backend(other) -> int:
    """The process that waits for the lock the test holds."""
    async with asyncio.timeout(5):
        while True:
            waiting = await other.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            )
            if waiting:
                return waiting
            await asyncio.sleep(0.01)


async def test_a_new_ticket_is_kept_as_it_was_filled_in(other):
    args = a_ticket(body="a\nb", category="card", queue="cards", priority=Priority.URGENT)
    call = a_call()

    ref = await DESK.create(args, call)

    kept = await row(other, args)
    assert ref == TicketRef(
        id=str(kept["id"]),
        url=f"desk:{kept['id']}",
        external_ref=args.external_ref,
        created=True,
    )
    assert (kept["body"], kept["queue"], kept["tenant"]) == ("a\nb", "cards", "acme")
    assert (kept["run_id"], kept["writes"]) == (call.run_id, 1)
    assert await DESK.read(args.external_ref, a_call()) == Ticket(
        id=ref.id,
        url=ref.url,
        external_ref=args.external_ref,
        title="Card not arrived",
        category="card",
        priority=Priority.URGENT,
    )


async def test_a_ticket_that_is_touched_twice_shows_it(other):
    args = a_ticket()

    first = await DESK.create(args, a_call())
    second = await DESK.create(args.model_copy(update={"title": "Other words"}), a_call())

    kept = await row(other, args)
    assert second == first.model_copy(update={"created": False})
    assert (kept["writes"], kept["title"]) == (2, "Card not arrived")


async def test_twenty_writers_racing_for_one_reference_open_one_ticket(other):
    args = a_ticket()

    refs = await asyncio.gather(*(DESK.create(args, a_call()) for _ in range(20)))

    assert sum(ref.created for ref in refs) == 1
    assert len({ref.id for ref in refs}) == 1
    assert (await row(other, args))["writes"] == 20


async def test_a_look_up_says_what_is_there():
    args = a_ticket()

    before = await DESK.lookup(args, a_call())
    opened = await DESK.create(args, a_call())
    after = await DESK.lookup(args, a_call())

    assert before == Sighting(Lookup.ABSENT)
    assert after == Sighting(Lookup.FOUND, opened.model_copy(update={"created": False}))
    assert await DESK.read("bank:none", a_call()) is None


async def test_a_write_whose_connection_ends_is_ambiguous(other):
    args = a_ticket()
    async with other.transaction():
        await other.execute("LOCK TABLE desk_ticket")
        writing = asyncio.create_task(DESK.create(args, a_call()))
        await other.execute("SELECT pg_terminate_backend($1)", await its_backend(other))

        with pytest.raises(Ambiguous):
            await writing


async def test_a_read_whose_connection_ends_may_be_tried_again(other):
    async with other.transaction():
        await other.execute("LOCK TABLE desk_ticket")
        reading = asyncio.create_task(DESK.read("bank:none", a_call()))
        await other.execute("SELECT pg_terminate_backend($1)", await its_backend(other))

        with pytest.raises(Unavailable):
            await reading


async def test_a_write_that_is_not_answered_in_time_is_ambiguous(other):
    async with other.transaction():
        await other.execute("LOCK TABLE desk_ticket")

        with pytest.raises(Ambiguous) as caught:
            await DESK.create(a_ticket(), a_call(lasts_s=0.3, leaves_within_s=0.2))

    assert caught.value.reason is StopReason.TOOL_TIMEOUT


async def test_a_statement_that_postgres_has_undone_did_nothing(other):
    async with other.transaction():
        await other.execute("LOCK TABLE desk_ticket")
        writing = asyncio.create_task(DESK.create(a_ticket(), a_call()))
        await other.execute("SELECT pg_cancel_backend($1)", await its_backend(other))

        with pytest.raises(Unavailable):
            await writing


async def test_a_desk_without_its_table_refuses(other):
    await other.execute("ALTER TABLE desk_ticket RENAME TO elsewhere")

    with pytest.raises(Rejected, match="UndefinedTableError"):
        await DESK.create(a_ticket(), a_call())

    await other.execute("ALTER TABLE elsewhere RENAME TO desk_ticket")


async def test_a_write_that_gets_no_connection_gives_up_when_it_may_no_longer_leave(other):
    held = [await database.hot().acquire() for _ in range(CONNECTIONS)]
    args, started = a_ticket(), monotonic()

    try:
        with pytest.raises(Unavailable) as caught:
            await DESK.create(args, a_call(leaves_within_s=0.2))
    finally:
        for each in held:
            await database.hot().release(each)

    assert 0.2 <= monotonic() - started < 1
    assert caught.value.reason is StopReason.TOOL_TIMEOUT
    assert await row(other, args) is None


async def test_a_write_whose_time_passed_with_a_connection_in_hand_does_not_leave(
    other, monkeypatch
):
    class Stalls:
        """A pool that hands out a connection late, as when the whole process stalls."""

        @asynccontextmanager
        async def acquire(self, **limits):
            async with database.hot().acquire(**limits) as connection:
                time.sleep(0.2)  # that is the point
                yield connection

    args = a_ticket()
    monkeypatch.setattr("tools.tickets.desk.hot", Stalls)

    with pytest.raises(Unavailable):
        await DESK.create(args, a_call(leaves_within_s=0.1))

    assert await row(other, args) is None


@pytest.mark.parametrize("lasts_s", [-0.1, 0])
async def test_nothing_is_asked_past_the_deadline(lasts_s):
    with pytest.raises(Unavailable):
        await DESK.read("bank:none", a_call(lasts_s=lasts_s))


async def test_a_desk_whose_database_is_away_has_done_nothing(other, monkeypatch):
    gone = await asyncpg.create_pool(
        host="127.0.0.1", port=1, user="nobody", database="none", min_size=0, max_size=1
    )
    monkeypatch.setattr("tools.tickets.desk.hot", lambda: gone)

    with pytest.raises(Unavailable):
        await DESK.create(a_ticket(), a_call())

    assert (await DESK.lookup(a_ticket(), a_call())).seen is Lookup.UNKNOWN
    await gone.close()
