"""A standing safe mode: one worker's policy shuts the whole fleet, and only its end opens it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from models import gate
from models.database import dsn, hot
from models.gate import GateMode, flip, follow_policy
from tests.conftest import finished, until
from tests.terminal import Terminal, ended, terminal
from worker.sweeper import Sweeper

STRICT = "safe_mode: {enabled: true}"


@pytest.fixture
async def sluice(database: str) -> AsyncIterator[Terminal]:
    async with terminal(database) as sluice:
        yield sluice


async def policys() -> str | None:
    return await hot().fetchval("SELECT mode FROM gate WHERE scope = 'policy'")


async def waiting(count: int) -> bool:
    return count == await hot().fetchval("SELECT count(*) FROM run WHERE waiting_for = 'gate'")


async def opened() -> bool:
    return await policys() == "open"


async def living(*, strict: bool, seen_s_ago: float = 0) -> UUID:
    """A worker that has been there for an hour."""
    return await hot().fetchval(
        "INSERT INTO worker (id, host, pid, runs, safe_mode, steady_since, last_seen)"
        " VALUES ($1, 'there', 1, '[]', $2, now() - interval '1 h',"
        " now() - make_interval(secs => $3)) RETURNING id",
        uuid4(),
        strict,
        seen_s_ago,
    )


async def test_the_stricter_of_two_workers_wins_until_the_last_strict_one_is_gone(
    submit, fleet, sluice, tmp_path
):
    (tmp_path / "strict.yaml").write_text(STRICT)
    (strict,) = fleet.workers(1, POLICY=str(tmp_path / "strict.yaml"), WORKER__HEARTBEAT_S="0.5")
    await until(policys)
    fleet.workers(1, WORKER__HEARTBEAT_S="0.5")
    await until(lambda: hot().fetchval("SELECT count(*) = 2 FROM worker"))
    for _ in range(6):
        await submit("five-writes", {})

    await until(lambda: waiting(6))
    off = await sluice("safe-mode", "off", "--reason", "I am sure")
    told = await sluice("gate", "open", "--reason", "yes", "--scope", "policy")
    await asyncio.sleep(1.5)
    still = await policys(), await waiting(6)
    strict.send_signal(signal.SIGKILL)
    await asyncio.to_thread(strict.wait)
    await hot().execute("UPDATE worker SET last_seen = now() - interval '31 s' WHERE safe_mode")
    await until(opened)
    await until(lambda: finished(6))

    assert off.code == 3
    assert "fleet is open, and was before" in off.out
    assert "policy is still read_only: safe_mode.enabled in the policy of" in off.out
    assert "the policy's safe mode ends in its file: safe_mode.enabled, and a restart" in off.out
    assert told.code == 2
    assert still == ("read_only", True)
    flips = await hot().fetch(
        "SELECT who, about->>'mode' FROM audit WHERE about->>'scope' = 'policy'"
        " ORDER BY seq DESC LIMIT 2"
    )
    assert [tuple(row) for row in flips] == [("policy", "open"), ("policy", "read_only")]


@pytest.mark.parametrize(("seen_s_ago", "mode"), [(20, "read_only"), (31, "open")])
async def test_a_strict_worker_counts_for_half_a_minute_after_it_was_last_seen(
    database, seen_s_ago, mode
):
    await flip("policy", GateMode.READ_ONLY, who="policy", reason="strict")
    await living(strict=True, seen_s_ago=seen_s_ago)

    await follow_policy(await living(strict=False), steady_s=1)

    assert await policys() == mode


async def test_who_is_not_steady_opens_nothing(database):
    await flip("policy", GateMode.READ_ONLY, who="policy", reason="strict")
    fresh = await living(strict=False)
    await hot().execute("UPDATE worker SET steady_since = now()")

    await follow_policy(fresh, steady_s=1)
    await follow_policy(uuid4(), steady_s=1)

    assert await policys() == "read_only"


async def test_a_strict_worker_that_was_frozen_for_a_minute_still_wins(database):
    await flip("policy", GateMode.READ_ONLY, who="policy", reason="strict")
    strict = await living(strict=True, seen_s_ago=60)
    other = await living(strict=False)
    await follow_policy(other, steady_s=1)
    assert await policys() == "open"

    await hot().execute("UPDATE worker SET last_seen = now() WHERE id = $1", strict)
    await follow_policy(other, steady_s=1)

    assert await policys() == "read_only"


async def test_a_strict_worker_that_starts_while_another_opens_wins(database, monkeypatch):
    await flip("policy", GateMode.READ_ONLY, who="policy", reason="strict")

    async def overtaken(*given: Any, **more: Any) -> Any:
        """The look is done; before the flip is, a strict worker starts: see Engine.open."""
        await living(strict=True)
        await flip("policy", GateMode.READ_ONLY, who="policy", reason="strict too")
        return await flip(*given, **more)

    monkeypatch.setattr(gate, "flip", overtaken)
    other = await living(strict=False)
    await follow_policy(other, steady_s=1)
    monkeypatch.undo()
    await follow_policy(other, steady_s=1)

    assert await policys() == "read_only"


async def test_a_gate_that_somebody_holds_ends_no_worker(database, monkeypatch):
    monkeypatch.setattr(gate, "PATIENCE_S", 0.1)
    monkeypatch.setattr(gate, "_LOCK_MS", 50)
    await flip("policy", GateMode.READ_ONLY, who="policy", reason="strict")
    holder = await asyncpg.connect(dsn(database), server_settings={"application_name": "backup"})
    await holder.execute("BEGIN; SELECT FROM gate")
    busy = asyncio.create_task(holder.execute("SELECT pg_sleep(20)"))
    sweeper = Sweeper(await living(strict=False), crash_limit=3, heartbeat_s=0.1, wake=lambda: None)

    sweeping = asyncio.create_task(sweeper.run())
    died, _ = await asyncio.wait({sweeping}, timeout=2)
    await hot().execute("SELECT pg_terminate_backend($1)", holder.get_server_pid())
    sweeping.cancel()
    await asyncio.gather(busy, sweeping, return_exceptions=True)

    assert not died


async def test_a_worker_with_a_wrong_policy_says_so_in_a_sentence(sluice, tmp_path):
    path: Path = tmp_path / "policy.yaml"
    path.write_text("safe_mode: {enbled: true}")

    told = await ended(await sluice.alone("worker", POLICY=str(path)))

    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"sluice: the policy {path} ")
    assert told.err.count("\n") == 1


async def test_doctor_says_that_a_policy_is_wrong(sluice, tmp_path):
    (tmp_path / "policy.yaml").write_text("safe_mode: {enbled: true}")

    told = await ended(await sluice.alone("doctor", POLICY=str(tmp_path / "policy.yaml")))

    assert told.code != 0
    assert "safe_mode.enbled" in told.out + told.err
