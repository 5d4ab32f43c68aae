"""The audit is a chain: what somebody changes in it all the same is told, with its line."""

import asyncio
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from models import migrate
from models.audit import Act, BrokenChain, Line, append, verify
from models.database import close_database, dsn, hot, open_database
from models.gate import GateMode, flip
from models.tenant import create_key
from tests.terminal import terminal

COPY = "INSERT INTO audit VALUES ($1, $2, $3, $4, $5::text::json, $6, $7)"


@pytest.fixture
async def books(servers) -> AsyncIterator[str]:
    """A database of its own, whose audit may be spoilt."""
    name = f"books_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(dsn(servers.database_url))
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = servers.database_url.replace("@/postgres?", f"@/{name}?")
    await migrate.upgrade(url)
    await open_database(url, connections=20)
    yield url
    await close_database()


async def write(count: int) -> None:
    async def one(n: int) -> None:
        async with hot().acquire() as connection, connection.transaction():
            await append(connection, who="ada", act=Act.GATE, about={"n": n, "why": "\u00e9[/]\\"})

    await asyncio.gather(*map(one, range(count)))


async def write_fast(count: int) -> Line:
    """A chain as `append` makes it, without waiting for a commit at each line."""
    lines: list[Line] = []
    at = await hot().fetchval("SELECT now()")
    for seq in range(1, count + 1):
        about = f'{{"n": {seq}}}'
        line = Line(seq, at, "ada", "gate", about, lines[-1].hash if lines else bytes(32), b"")
        lines.append(line._replace(hash=line.sealed()))
    await hot().executemany(COPY, lines)
    return lines[-1]


async def behind_the_triggers_back(statement: str) -> None:
    async with hot().acquire() as connection, connection.transaction():
        await connection.execute(
            f"ALTER TABLE audit DISABLE TRIGGER USER; {statement};"
            "ALTER TABLE audit ENABLE TRIGGER USER"
        )


async def test_two_hundred_at_once_make_one_chain_without_a_gap(books):
    await write(200)

    last = await verify()

    assert last is not None
    assert (last.seq, await hot().fetchval("SELECT count(*) FROM audit")) == (200, 200)


async def write_and_fail() -> None:
    async with hot().acquire() as connection, connection.transaction():
        await append(connection, who="ada", act=Act.GATE, about={})
        raise ZeroDivisionError


async def test_a_line_is_kept_with_what_it_tells_of_or_not_at_all(books):
    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    await write(1)

    last = await verify()

    assert last is not None
    assert last.seq == 1


async def test_a_chain_of_no_lines_is_whole_but_has_no_head(books):
    assert await verify() is None
    with pytest.raises(BrokenChain, match="its end was cut off"):
        await verify(bytes(32))


SPOILT = {
    "UPDATE audit SET who = 'nobody' WHERE seq = 1": "line 1 is not what was written",
    "UPDATE audit SET at = at + interval '1 us' WHERE seq = 1000": "line 1000 is not",
    "UPDATE audit SET about = '{\"n\": 1}' WHERE seq = 1001": "line 1001 is not",
    "UPDATE audit SET about = '{\"n\":  2}' WHERE seq = 2": "line 2 is not",
    "UPDATE audit SET act = 'key' WHERE seq = 3": "line 3 is not",
    "UPDATE audit SET hash = sha256('forged') WHERE seq = 1004": "line 1004 is not",
    "DELETE FROM audit WHERE seq = 1": "line 1 is missing",
    "DELETE FROM audit WHERE seq BETWEEN 500 AND 1000": "line 500 is missing",
    "DELETE FROM audit WHERE seq = 1001": "line 1001 is missing",
    "DELETE FROM audit WHERE seq = 1; UPDATE audit SET seq = seq - 1": "line 1 is not",
    # two have changed places
    "UPDATE audit SET seq = -seq WHERE seq IN (7, 8);"
    "UPDATE audit SET seq = 15 + seq WHERE seq < 0": "line 7 is not",
    # one was put in between, and those behind it moved on
    "UPDATE audit SET seq = -seq WHERE seq > 7; UPDATE audit SET seq = 1 - seq WHERE seq < 0;"
    "INSERT INTO audit SELECT 8, at, who, act, about, before, hash FROM audit"
    " WHERE seq = 7": "line 8 is not",
    "INSERT INTO audit SELECT 1005, at, who, act, about, hash, hash FROM audit"
    " WHERE seq = 1004": "line 1005 is not",
}


async def test_what_was_done_behind_the_triggers_back_is_told_with_its_line(books):
    last = await write_fast(1004)
    await hot().execute("CREATE TABLE whole AS SELECT * FROM audit")
    assert await verify() == last, "more than a page of it"

    for statement, found in SPOILT.items():
        await behind_the_triggers_back(statement)

        with pytest.raises(BrokenChain, match=found):
            await verify()

        await behind_the_triggers_back("DELETE FROM audit; INSERT INTO audit SELECT * FROM whole")
    assert await verify() == last


async def test_a_line_that_was_sealed_anew_does_not_fit_the_one_behind_it(books):
    await write_fast(5)
    row = await hot().fetchrow("SELECT * FROM audit WHERE seq = 3")
    line = Line(*row)._replace(who="nobody", about=row["about"].decode())
    await behind_the_triggers_back(
        f"UPDATE audit SET who = 'nobody', hash = '\\x{line.sealed().hex()}' WHERE seq = 3"  # noqa: S608  # a hash
    )

    with pytest.raises(BrokenChain, match="line 4 is not what was written"):
        await verify()


@pytest.mark.parametrize("seq", [0, -1])
async def test_a_line_before_the_first_is_found_too(books, seq):
    await write(2)
    await behind_the_triggers_back(
        f"INSERT INTO audit SELECT {seq}, at, who, act, about, before, hash FROM audit"  # noqa: S608  # of numbers
        " WHERE seq = 1"
    )

    with pytest.raises(BrokenChain):
        await verify()


async def test_an_operator_is_told_whether_the_record_is_whole_and_notes_its_head(books):
    async with terminal(books) as sluice:
        empty, nothing = await sluice("audit", "verify"), await sluice("audit")
        await write(3)
        whole = await sluice("audit", "verify")
        head = whole.out.split()[-1]
        await behind_the_triggers_back("DELETE FROM audit WHERE seq = 3")
        shorter = await sluice("audit", "verify")
        cut_off = await sluice("audit", "verify", "--head", head)
        garbled = await sluice("audit", "verify", "--head", "xyz")
        await write(1)
        written_anew = await sluice("audit", "verify", "--head", head)
        await behind_the_triggers_back("UPDATE audit SET who = 'nobody' WHERE seq = 2")
        changed = await sluice("audit", "verify")

    assert (empty.code, empty.out, nothing.out) == (0, "no lines yet\n", "nothing was done yet\n")
    assert re.fullmatch(r"3 lines, all whole; head [0-9a-f]{64}\n", whole.out)
    assert (whole.code, shorter.code) == (0, 0), "from the rest alone nobody can tell"
    for each in (cut_off, written_anew):
        assert each.code == 1
        assert "its end was cut off or rewritten" in each.out
    assert garbled.code == 2
    assert "a head is the hexadecimal hash of a line" in garbled.err
    assert (changed.code, changed.out) == (
        1,
        "the audit is broken: line 2 is not what was written\n",
    )


async def test_the_audit_is_listed_newest_first_and_tells_what_was_done(books):
    async with terminal(books) as sluice:
        await create_key("acme", who="ada", operator=True)
        await flip("tenant:acme", GateMode.CLOSED, who="bob", reason="a loop")
        both, one = await sluice("audit"), await sluice("audit", "--limit", "1")
        none = await sluice("audit", "--limit", "0")

    lines = both.out.splitlines()
    assert re.search(
        r"^2 +\d+ s ago +bob +gate +epoch 1, mode closed, reason a loop, scope", lines[1]
    )
    assert re.search(r"^1 +\d+ s ago +ada +key +key [0-9a-f]{16}, operator True, tenant", lines[2])
    assert len(one.out.splitlines()) == 2
    assert none.code == 2
