"""`sluice gate` and `sluice safe-mode`, as an operator meets them at three in the morning."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from models.database import dsn, hot
from models.gate import GateMode, flip
from models.tenant import create_key
from tests.integration.test_doubt import in_doubt
from tests.proxy import proxied
from tests.terminal import Terminal, ended

IMPATIENT = "import models.gate as g; g.PATIENCE_S = 0.2; from config.command import main; main()"


async def audited() -> int:
    return await hot().fetchval("SELECT coalesce(max(seq), 0) FROM audit")


async def stands(scope: str = "fleet") -> str | None:
    return await hot().fetchval("SELECT mode FROM gate WHERE scope = $1", scope)


async def test_safe_mode_goes_on_and_off_once_and_each_flip_is_in_the_audit_once(sluice):
    before = await audited()

    on = await sluice("safe-mode", "on", "--reason", "desk ill")
    again = await sluice("safe-mode", "on", "--reason", "twice")
    shown = await sluice("gate")
    off = await sluice("safe-mode", "off", "--reason", "desk well")

    assert on.code == again.code == shown.code == off.code == 0
    assert "fleet is read_only\n" in on.out
    assert re.search(r"STOPPED after \d\.\d\d s: no write starts any more\n", on.out)
    assert "drained: nothing under way, nothing in doubt" in on.out
    assert "fleet is read_only, and was before" in again.out
    assert re.search(
        r"^fleet +read_only +\d+ s ago +ada +desk ill +drained", shown.out, re.MULTILINE
    )
    assert "fleet is open\n" in off.out
    rows = await hot().fetch(
        "SELECT who, act, about->>'mode' AS mode, about->>'reason' AS reason FROM audit"
        " WHERE seq > $1 ORDER BY seq",
        before,
    )
    assert [tuple(row) for row in rows] == [
        ("ada", "gate", "read_only", "desk ill"),
        ("ada", "gate", "open", "desk well"),
    ]


async def test_safe_mode_on_does_not_loosen_what_somebody_has_closed(sluice):
    await flip("fleet", GateMode.CLOSED, who="bob", reason="stop")

    code, said, _ = await sluice("safe-mode", "on", "--reason", "careful")

    assert code == 0
    assert "fleet is closed, and was before" in said
    assert await stands() == "closed"


async def test_who_opens_one_scope_is_told_which_others_are_still_shut_and_why(sluice):
    await create_key("acme")
    await flip("tenant:acme", GateMode.CLOSED, who="bob", reason="a loop")

    code, said, _ = await sluice("safe-mode", "off", "--reason", "well")

    assert code == 0
    assert "fleet is open, and was before" in said
    assert "tenant:acme is still closed: a loop" in said
    assert (await stands(), await stands("tenant:acme")) == ("open", "closed")


REFUSED = {
    "safe-mode on": "Missing option '--reason'",
    "safe-mode on --reason=": "a flip needs a reason",
    "gate close --reason x --scope tenant:acne": "no tenant is named 'acne': 'acme'?",
    "safe-mode on --reason x --scope policy": "flipped by its file: safe_mode.enabled",
    "gate open --reason x --scope policy": "flipped by its file: safe_mode.enabled",
    "safe-mode on --reason x --wait soon": "'soon' is not one of 'stopped', 'drained'",
}


async def test_what_cannot_be_meant_is_refused_with_what_may_be_and_flips_nothing(sluice):
    await create_key("acme")
    before = await audited()

    for command, why in REFUSED.items():
        code, _, erred = await sluice(*command.split())
        assert code == 2, (command, erred)
        assert why in erred, command
        assert "Traceback" not in erred
    assert await audited() == before
    assert await hot().fetchval("SELECT count(*) FROM gate") == 1


@pytest.mark.parametrize(
    ("scope", "meant"),
    [
        ("flet", "'flet' is no scope: fleet, tenant:NAME, pipeline:NAME or tool:NAME"),
        ("", "'' is no scope"),
        ("Fleet", "'Fleet' is no scope"),
        ("tenant:", "'tenant:' is no scope"),
        ("tenant:Acme", "no tenant is named 'Acme': 'acme'?"),
        ("pipeline:nop", "no pipeline is named 'nop': 'noop'?"),
        ("tool:probe.wirte", "no tool is named 'probe.wirte': 'probe.write'?"),
        ("tool:zzz", "no tool is named 'zzz': known are "),
    ],
)
async def test_a_misspelt_scope_is_refused_with_what_may_be_meant(database, scope, meant):
    await create_key("acme")

    with pytest.raises(ValueError, match=re.escape(meant)):
        await flip(scope, GateMode.CLOSED, who="bob", reason="stop")


async def test_who_opens_a_misspelt_scope_is_told_and_does_not_go_back_to_bed(sluice):
    await create_key("acme")
    await flip("tenant:acme", GateMode.CLOSED, who="bob", reason="stop")

    code, said, erred = await sluice("gate", "open", "--scope", "tenant:acne", "--reason", "well")

    assert (code, await stands("tenant:acne")) == (2, None), said
    assert "'acme'?" in erred


async def test_drained_lists_the_writes_of_which_nobody_knows_what_became_of_them(
    submit, attempt, world, sluice
):
    run = await in_doubt(submit, attempt, world)

    code, said, _ = await sluice("safe-mode", "on", "--reason", "ill", "--wait", "drained")

    assert code == 0
    assert re.search(r"STOPPED after .*\nDRAINED after \d+\.\d\d s: none is under way\n", said)
    assert f"drained: 1 in doubt\n  in doubt: probe.once of run {run}, step once\n" in said


async def test_a_fleet_without_a_gate_is_said_to_stand_still(sluice):
    await hot().execute("DELETE FROM gate")

    code, said, _ = await sluice("gate")

    assert code == 1
    assert "the fleet's row is missing: nothing may start; `sluice gate open`" in said


@pytest.fixture
def short_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sl-"))
    yield folder
    shutil.rmtree(folder)


async def test_a_database_that_goes_away_is_told_in_a_sentence(database, submit, short_folder):
    run = await submit("five-writes", {})
    await an_intent(run)
    async with proxied(database, short_folder) as (proxy, url):
        process = await Terminal(url).alone("safe-mode", "on", "--reason", "ill")
        while b"fleet is read_only" not in await process.stdout.readline():
            assert not process.stdout.at_eof()
        await proxy.shut()
        cut_off = await ended(process)
        away = await ended(await Terminal(url).alone("gate"))

    assert "STOPPED" not in cut_off.out, "nobody knows"
    for code, _, erred in (cut_off, away):
        assert code == 1
        assert erred.splitlines()[-1].startswith("sluice: the database cannot be worked with: ")
    assert away.err.count("\n") == 1


async def an_intent(run) -> None:
    """As a worker leaves it that is about to send."""
    await hot().execute(
        "UPDATE run SET status = 'running', attempt = 1, worker = $2,"
        " lease_expires_at = now() + interval '1 h' WHERE id = $1",
        run,
        uuid4(),
    )
    await hot().execute(
        "INSERT INTO ledger_entry (run_id, step, number, kind, tool, effect, args_hash, state,"
        " attempt, token, send_before, quiet_at) VALUES ($1, 'write-0', 1, 'call', 'probe.write',"
        " 'write', '', 'reserved', 1, $2, now() + interval '1 h', now() + interval '1 h')",
        run,
        uuid4(),
    )


async def test_a_gate_that_somebody_holds_is_told_with_who_holds_it(database, sluice):
    holder = await asyncpg.connect(
        dsn(database), server_settings={"application_name": "nightly backup"}
    )
    await holder.execute("BEGIN; SELECT FROM gate")
    busy = asyncio.create_task(holder.execute("SELECT pg_sleep(20)"))

    words = ("safe-mode", "on", "--reason", "ill")
    code, _, erred = await ended(await sluice.alone(*words, program=IMPATIENT))
    await hot().execute("SELECT pg_terminate_backend($1)", holder.get_server_pid())
    await asyncio.gather(busy, return_exceptions=True)

    assert (code, await stands()) == (1, "open")
    assert re.fullmatch(
        r"sluice: the gate was not flipped: process \d+ \(nightly backup\) holds its table,"
        r" active for \d+ s\n",
        erred,
    )
