"""`sluice guards verify`: it proves every guard that stands, and finds out each that does not."""

import asyncio
import json
import signal
from collections.abc import Callable
from decimal import Decimal

import pytest

from config.settings import WorkerSettings
from models import audit, call_audit, notice, shadow
from models.budget import Budget
from models.database import hot
from models.gate import GateMode, flip
from models.guard import Guard, lacking, standing
from models.shadow import SCOPE, SHADOW, Busy
from models.tenant import create_key
from tests.conftest import finished, until
from tests.service import redis_of
from tools.patient import Patient
from tools.permit import Terms
from worker import gateway, intent, journal, ruling, trip
from worker.branch import Branch
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.held import Held
from worker.labels.sinks import UNJUDGED
from worker.outcome import GateShut
from worker.record import Record
from worker.refusal import Refusal
from worker.ruling import Ruling
from worker.trials import verify as verification
from worker.trials.verify import verify
from worker.turnstile import Turnstile, Visit

SETTINGS = WorkerSettings()
NEED_WRITES = {Guard.LABELS, Guard.APPROVAL, Guard.GATE, Guard.SENSITIVE}
Patch = Callable[[pytest.MonkeyPatch], None]


async def proofs(**more):
    found = await verify(SETTINGS, **({"broker_url": None} | more))
    return {each.guard: each for each in found}


async def left() -> dict[str, int]:
    """Rows of the shadow, by table."""
    tables = {
        "run": "tenant = $1", "request_key": "tenant = $1", "review": "tenant = $1",
        "tombstone": "tenant = $1", "spend": "scope = 'tenant:' || $1",
        "contract": "name = 'guards-trial' OR $1 = ''",
        "breaker": "tool LIKE 'guards.%' OR $1 = ''",
        "ledger_entry": "tool LIKE 'guards.%' OR $1 = ''",
    }  # fmt: skip
    counted = {
        table: await hot().fetchval(f"SELECT count(*) FROM {table} WHERE {its}", SHADOW)  # noqa: S608  # constants
        for table, its in tables.items()
    }
    return {table: count for table, count in counted.items() if count}


def everybody_is_declared(monkeypatch):
    real = Gateway.call

    async def call(self, held, tool, given, **more):
        return await real(self, held, tool, given, **more | {"allowed": {tool.name: tool}})

    monkeypatch.setattr(Gateway, "call", call)


def names_another_policy(monkeypatch):
    real = Refusal.remark
    monkeypatch.setattr(
        Refusal, "remark", lambda self, held, step, tool, _, digest: real(
            self, held, step, tool, "another", digest)
    )  # fmt: skip


async def no_reasons(*_):
    return ()


def other_arguments_will_do(monkeypatch):
    real = Record.replay
    monkeypatch.setattr(Record, "replay", lambda self, _: real(self, self.args_hash))


def text_without(module, name, guard, without) -> Patch:
    def patch(monkeypatch):
        text = getattr(module, name)
        assert text.count(guard) == 1, "the statement has changed: this takes nothing out"
        monkeypatch.setattr(module, name, text.replace(guard, without))

    return patch


def instead(where, name, what) -> Patch:
    return lambda monkeypatch: monkeypatch.setattr(where, name, what)


NOBODY_ASKS = instead(Turnstile, "at_once", lambda *_: Visit())
TAKEN_OUT: list[tuple[Guard, str, Patch]] = [
    (Guard.CONTRACT, "arguments are not parsed",
     instead(gateway, "parse", lambda tool, *_, **__: tool.takes())),
    (Guard.ALLOWLIST, "the policy's lists are not asked",
     instead(Ruling, "permit", lambda _: None)),
    (Guard.ALLOWLIST, "undeclared tools are called", everybody_is_declared),
    (Guard.BUDGET, "no ceiling", instead(Budget, "exceeded_by", lambda *_: None)),
    (Guard.BUDGET, "different calls are not counted",
     instead(Held, "meet", lambda self, tool, digest, _: self.met(tool, digest))),
    (Guard.LABELS, "sinks are not looked at",
     instead(gateway, "judge", lambda *_, **__: UNJUDGED)),
    (Guard.APPROVAL, "nobody is asked", instead(gateway, "reasons", no_reasons)),
    (Guard.GATE, "an intent does not look at the table",
     text_without(intent, "_INTEND", "AND mode <> m.needs)", "AND false)")),
    (Guard.GATE, "a worker does not look at the gate",
     instead(Gatekeeper, "_refuse", lambda *_: None)),
    (Guard.HEALTH, "nobody asks the turnstile", NOBODY_ASKS),
    (Guard.HEALTH, "what an operator forces is not seen",
     instead(Patient, "follow", lambda *_: None)),
    (Guard.HEALTH, "failures open nothing", instead(Patient, "judge_alone", lambda *_: None)),
    (Guard.RATE, "nobody asks the turnstile", NOBODY_ASKS),
    (Guard.RATE, "limits are not in the terms",
     instead(ruling, "Terms", lambda breakers, _, retries: Terms(breakers, None, retries))),
    (Guard.SPEND, "a tenant's ceiling is not in the intent",
     text_without(intent, "_INTEND_PAID",
                  "AND p.of_tenant <= coalesce(m.tenant_usd, 'infinity')", "")),
    (Guard.SPEND, "the fleet's ceiling is not in the intent",
     text_without(intent, "_INTEND_PAID",
                  "AND p.of_fleet <= coalesce(m.fleet_usd, 'infinity')", "")),
    (Guard.RESULT, "results are not parsed",
     instead(trip, "checked", lambda _, result, __: (b'{"n": 1}', result))),
    (Guard.LOOP, "nobody judges", instead(Branch, "_judge", lambda *_: None)),
    (Guard.REPLAY, "recorded arguments are not compared", other_arguments_will_do),
    (Guard.SENSITIVE, "no tool is sensitive", instead(ruling, "fnmatchcase", lambda *_: False)),
]  # fmt: skip


def test_each_guard_is_taken_out_at_least_once():
    assert {guard for guard, _, _ in TAKEN_OUT} == set(Guard)


@pytest.mark.parametrize("shared", [True, False], ids=["with redis", "alone"])
async def test_every_guard_that_stands_is_proven(database, redis_url, shared):
    found = await proofs(broker_url=redis_url if shared else None)

    assert {guard: each.told for guard, each in found.items() if not each.proven} == {}
    assert list(found) == list(Guard)
    known = await standing()
    assert {each.name for each in known if each.proven and each.refused} == set(Guard)
    assert lacking(known, within_s=60) == {}


@pytest.mark.parametrize(
    ("guard", "take_out"),
    [pytest.param(guard, patch, id=f"{guard}: {what}") for guard, what, patch in TAKEN_OUT],
)
async def test_a_guard_that_is_taken_out_is_found_unproven(database, monkeypatch, guard, take_out):
    before = (await proofs(only=[guard]))[guard]
    take_out(monkeypatch)

    after = (await proofs(only=[guard]))[guard]

    assert (before.proven, after.proven) == (True, False)
    assert "expected" in after.told, "it says what was expected, and what was seen"
    assert "saw" in after.told
    assert list(lacking(await standing(), within_s=60)).count(guard) == 1
    assert await left() == {}


async def test_a_guard_that_refuses_everything_is_not_proven_either(database, monkeypatch):
    def shut(*_, **__):
        raise GateShut

    monkeypatch.setattr(Gatekeeper, "clear", False)
    monkeypatch.setattr(Gatekeeper, "admit", shut)

    found = await proofs()

    assert [guard for guard, each in found.items() if each.proven is not False] == []


async def no_note(remarks):
    return [None] * len(remarks)


@pytest.mark.parametrize(
    "take_out",
    [
        instead(journal, "note", no_note),
        text_without(call_audit, "_NOTE", "g.refused + EXCLUDED.refused", "g.refused"),
        names_another_policy,
    ],
    ids=["no line in the audit", "no count", "lines of another policy"],
)
async def test_a_refusal_that_nobody_can_see_afterwards_proves_nothing(
    database, monkeypatch, take_out
):
    await proofs()
    take_out(monkeypatch)

    found = await proofs()

    assert [guard for guard, each in found.items() if each.proven is not False] == []


async def test_it_leaves_nothing_but_the_lines_of_the_audit(database, redis_url):
    await proofs(broker_url=redis_url)

    assert await left() == {}
    assert await hot().fetchval("SELECT count(*) FROM call_audit WHERE tenant = $1", SHADOW) > 20
    await call_audit.seal()
    await audit.verify()
    gate = await hot().fetchrow("SELECT mode, who FROM gate WHERE scope = $1", SCOPE)
    assert tuple(gate) == ("open", "guards verify")
    fleet = await hot().fetchrow("SELECT reserved, spent FROM spend WHERE scope = 'fleet'")
    assert (fleet["reserved"], fleet["spent"]) == (0, Decimal("0.00000001"))


async def test_in_safe_mode_what_needs_a_write_is_not_tried_and_not_called_proven(database):
    await flip("fleet", GateMode.READ_ONLY, who="jo", reason="a test")

    found = await proofs()

    assert {guard for guard, each in found.items() if each.proven is None} == NEED_WRITES
    assert all(each.proven for guard, each in found.items() if guard not in NEED_WRITES)
    assert all("safe mode" in found[guard].told for guard in NEED_WRITES)
    assert set(lacking(await standing(), within_s=60)) == NEED_WRITES
    assert await hot().fetchval("SELECT mode FROM gate WHERE scope = 'fleet'") == "read_only"


async def test_behind_a_closed_gate_nothing_is_tried_and_what_was_proven_stays_so(database):
    await proofs()
    await flip("fleet", GateMode.CLOSED, who="jo", reason="a test")

    found = await proofs()

    assert [each for each in found.values() if each.proven is not None] == []
    assert lacking(await standing(), within_s=60) == {}


async def test_a_gate_that_is_shut_meanwhile_makes_no_alarm(database, monkeypatch):
    real = verification._one

    async def shut_first(*of):
        await flip("fleet", GateMode.READ_ONLY, who="jo", reason="a test")
        return await real(*of)

    monkeypatch.setattr(verification, "_one", shut_first)

    found = await proofs()

    assert {guard for guard, each in found.items() if each.proven is None} == NEED_WRITES
    assert [each for each in found.values() if each.proven is False] == []


async def test_when_the_fleet_has_spent_its_day_the_ceiling_holds_for_the_trial_too(database):
    found = await proofs(fleet_usd=Decimal("0.000000005"), only=[Guard.SPEND])

    assert found[Guard.SPEND].proven is None
    assert "spent what it may" in found[Guard.SPEND].told
    assert await hot().fetchval("SELECT sum(spent) FROM spend") in {None, 0}


async def test_what_is_ill_and_what_waits_for_it_is_left_alone(database, redis_url, submit):
    with redis_of(redis_url) as board:
        board.delete("sluice.health:tool:ticket.create")  # of an earlier test
    run = await submit("five-writes", {})
    await hot().execute(
        "INSERT INTO breaker (tool, state, epoch, openings, until, told)"
        " VALUES ('ticket.create', 'open', 3, 1, now() + interval '1 h', 'five of five failed')"
    )
    await hot().execute(
        "UPDATE run SET waiting_for = 'breaker', dispatch_at = now() + interval '1 h'"
    )
    waits = "SELECT status, attempt, dispatch_at FROM run WHERE id = $1"
    before = [await hot().fetch("SELECT * FROM breaker"), await hot().fetchrow(waits, run)]

    found = await proofs(broker_url=redis_url)

    assert all(each.proven for each in found.values())
    after = [await hot().fetch("SELECT * FROM breaker"), await hot().fetchrow(waits, run)]
    assert after == before
    with redis_of(redis_url) as board:
        assert not board.exists("sluice.health:tool:ticket.create"), "nobody asked for it"


async def test_two_at_once_take_turns(database):
    first, second = await asyncio.gather(proofs(), proofs())

    assert all(each.proven for each in (*first.values(), *second.values()))
    async with shadow.turn(patience_s=1):
        with pytest.raises(Busy, match="another"):
            await proofs(patience_s=0.2)


async def test_its_tenant_is_nobody_elses(database):
    with pytest.raises(ValueError, match="its rows are removed"):
        await create_key(SHADOW)


async def test_beside_a_working_fleet_the_command_proves_them_and_nobody_is_woken(
    database, fleet, submit
):
    fleet.workers(1)
    runs = [await submit("five-writes", {}) for _ in range(20)]
    await until(lambda: finished(len(runs)))

    process = fleet.start("guards", "verify", "--json")
    code = await asyncio.to_thread(process.wait, 60)

    told = fleet.logs()
    assert code == 0, told
    proven = json.loads((fleet.folder / "guards-1.log").read_text())
    assert [each["guard"] for each in proven if each["proven"]] == list(Guard)
    assert await left() == {}
    await notice.collect()
    assert [row["told"] for row in await notice.latest(1)] == []
    assert await hot().fetchval("SELECT mode FROM gate WHERE scope = 'fleet'") == "open"
    assert await finished(len(runs))


async def test_the_command_says_what_was_seen_and_that_it_failed(database, sluice):
    """Somebody holds the gate of its pipeline, so that what must pass does not."""
    await hot().execute("INSERT INTO gate (scope, mode) VALUES ('pipeline:guards-trial', 'closed')")

    code, out, err = await sluice("guards", "verify", "--guard", "loop", "--guard", "gate")
    machine = await sluice("guards", "verify", "--guard", "loop", "--json")
    shown, doctor = await sluice("guards"), await sluice("doctor")
    await hot().execute("DELETE FROM gate WHERE scope <> 'fleet'")
    again = await sluice("guards", "verify", "--guard", "loop")

    assert (code, err) == (1, "")
    assert out.count("NOT PROVEN") == 2
    assert [each["proven"] for each in json.loads(machine.out)] == [False]
    assert (shown.code, shown.out.count("NOT PROVEN"), shown.out.count("not tried")) == (0, 2, 11)
    assert "not proven lately: contract, allowlist" in doctor.out
    assert (again.code, again.out.count(" proven ")) == (0, 1)


async def test_after_a_kill_the_next_one_puts_everything_right(database, fleet):
    """A worker beside it, whose sweeper meets what was left behind."""
    fleet.workers(1, WORKER__LEASE_S="3", WORKER__HEARTBEAT_S="1")
    await until(lambda: hot().fetchval("SELECT count(*) FROM worker"))

    async def shut():
        return await hot().fetchval("SELECT mode <> 'open' FROM gate WHERE scope = $1", SCOPE)

    async with hot().acquire() as connection, connection.transaction():
        await connection.execute(
            "LOCK TABLE call_audit IN SHARE MODE"
        )  # it is held up in mid-trial
        process = fleet.start("guards", "verify", "--guard", "gate")
        await until(shut)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (await left())["run"] == 3
    assert await shut()
    await hot().execute("UPDATE run SET lease_expires_at = now() WHERE status = 'running'")
    await until(lambda: hot().fetchval("SELECT count(*) > 0 FROM run WHERE crashes > 0"))
    assert await hot().fetchval("SELECT count(*) FROM run WHERE status = 'running'") == 0
    await hot().execute("UPDATE run SET dispatch_at = now() - interval '1 h'")
    await notice.collect()
    assert [row["told"] for row in await notice.latest(1)] == []

    found = await proofs()

    assert {guard: each.told for guard, each in found.items() if not each.proven} == {}
    assert await left() == {}
    assert not await shut()
