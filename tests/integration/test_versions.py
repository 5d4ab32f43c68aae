"""Two versions of a pipeline beside each other, and what a changed one is told.

This module is the new release's catalogue too: it has the second version.
"""

import signal

from models.database import hot
from models.run import StopReason
from tests import version_pipelines
from tests.conftest import CATALOGUE, document, expire_lease, reload, sweep, until
from tests.pipelines import Number, read, write
from tests.version_pipelines import NAME, Given
from worker.flow import Flow
from worker.pipeline import Catalogue, pipeline

OLD, NEW = "tests.version_pipelines", "tests.integration.test_versions"


@pipeline(NAME, version=2, tools=[read, write])
async def relay(flow: Flow, given: Given) -> Number:
    """As the first version, but it neither waits nor adds up the same."""
    first = await flow.call("first", read, n=given.n)
    return Number(n=(await flow.call("last", write, n=first.n + 200)).n)


PIPELINES: Catalogue = {(NAME, 2): relay}
CATALOGUE |= version_pipelines.PIPELINES | PIPELINES


async def runs_of(version):
    rows = await hot().fetch(
        "SELECT status, attempt, stop_reason, result FROM run WHERE version = $1", version
    )
    return [(row["status"], row["stop_reason"], document(row["result"])) for row in rows]


async def test_a_run_resumes_only_on_its_own_version_and_the_list_says_who_lacks(
    submit, fleet, sluice
):
    """One fleet has the old version alone, one the new one alone."""
    old = fleet.start("worker", WORKER__CATALOGUES=f'["{OLD}"]')
    await until(lambda: hot().fetchval("SELECT count(*) = 1 FROM worker"))
    first = await submit(NAME, {"n": 1, "seconds": 0.8})
    await until(lambda: hot().fetchval("SELECT count(*) FROM ledger_entry WHERE step = 'first'"))
    old.send_signal(signal.SIGKILL)
    fleet.start("worker", WORKER__CATALOGUES=f'["{NEW}"]')
    old.wait()
    await expire_lease(first)
    assert await sweep() == 1
    await hot().execute("DELETE FROM worker WHERE pid = $1", old.pid)  # as if for half a minute
    await until(lambda: hot().fetchval("SELECT count(*) = 1 FROM worker"))
    second = await submit(NAME, {"n": 2})
    await until(lambda: hot().fetchval("SELECT status = 'finished' FROM run WHERE id = $1", second))

    assert await runs_of(1) == [("queued", None, None)]
    assert await runs_of(2) == [("finished", "success", {"n": 202})]
    code, told, _ = await sluice("runs", "--version", "1", "--pipeline", NAME)
    assert code == 0
    assert "1 run(s) wait for relay 1, which no living worker runs: 1 queued" in told
    assert str(first) in told
    assert str(second) not in told

    fleet.start("worker", WORKER__CATALOGUES=f'["{OLD}"]')
    await until(lambda: hot().fetchval("SELECT status = 'finished' FROM run WHERE id = $1", first))
    assert await runs_of(1) == [("finished", "success", {"n": 101})]
    row = await reload(first)
    assert (row["attempt"], row["crashes"]) == (2, 1)
    _, told, _ = await sluice("runs", "--version", "1", "--pipeline", NAME)
    assert "relay 1 has drained: no run of it is unfinished; 1 living worker can run it" in told


async def test_what_drains_is_counted_by_where_it_stands(submit, attempt, sluice):
    parked = await submit("sure-or-ask", {"n": 50})
    await attempt(parked)
    await submit("sure-or-ask", {"n": 1})
    await submit("noop", {})

    _, told, _ = await sluice("runs", "--version", "1")
    _, named, _ = await sluice("runs", "--version", "1", "--pipeline", "sure-or-ask")
    _, none, _ = await sluice("runs", "--version", "77")

    assert "2 run(s) wait for sure-or-ask 1, which no living worker runs" in told
    assert "1 queued, 1 waiting (review); the oldest came" in told
    assert "1 run(s) wait for noop 1" in told
    assert "noop" not in named
    assert "no run of any version 77 is unfinished" in none


async def resumed_as(submit, attempt, monkeypatch, given, body):
    """A run whose worker died before its last step, and whose version was changed in place."""
    run = await submit(NAME, given)
    assert (await reload(run))["version"] == 2

    async def dies(flow, given):
        await flow.call("first", read, n=given.n)
        await flow.call("last", write, n=given.n + 200)
        raise MemoryError("its worker dies here")

    monkeypatch.setitem(CATALOGUE, (NAME, 2), in_its_place(dies))
    await attempt(run)
    monkeypatch.setitem(CATALOGUE, (NAME, 2), in_its_place(body))
    await hot().execute("UPDATE run SET dispatch_at = now() WHERE id = $1", run)
    await attempt(run)
    return await reload(run)


def in_its_place(body):
    body.__annotations__ = {"flow": Flow, "given": Given, "return": Number}
    return pipeline(NAME, version=2, tools=[read, write])(body)


async def test_a_mismatch_tells_field_by_field_what_was_asked_and_what_is_asked_now(
    submit, attempt, monkeypatch
):
    async def other(flow, given):
        await flow.call("first", read, n=given.n + 7)
        return Number()

    row = await resumed_as(submit, attempt, monkeypatch, {"n": 5}, other)

    assert row["stop_reason"] == StopReason.REPLAY_MISMATCH
    assert "step 'first' asks for other things than an earlier attempt did" in row["detail"]
    assert row["detail"].splitlines()[1:] == ["  call probe.read", "  /n: 5 -> 12"]


async def test_a_mismatch_names_another_tool(submit, attempt, monkeypatch):
    async def other(flow, given):
        await flow.call("first", write, n=given.n)
        return Number()

    row = await resumed_as(submit, attempt, monkeypatch, {"n": 5}, other)

    assert row["detail"].splitlines()[1:] == ["  on record: call probe.read, now: call probe.write"]


async def test_a_write_on_record_that_the_pipeline_never_comes_to_is_a_mismatch(
    submit, attempt, monkeypatch
):
    async def shorter(flow, given):
        await flow.call("first", read, n=given.n)
        return Number()

    row = await resumed_as(submit, attempt, monkeypatch, {}, shorter)

    assert row["stop_reason"] == StopReason.REPLAY_MISMATCH
    assert "step 'last' (probe.write) is on record, and the pipeline never came" in row["detail"]


async def test_a_read_that_is_left_out_is_no_mismatch(submit, attempt, monkeypatch):
    async def shorter(flow, given):
        await flow.call("last", write, n=given.n + 200)
        return Number(n=9)

    row = await resumed_as(submit, attempt, monkeypatch, {}, shorter)

    assert (row["stop_reason"], document(row["result"])) == (StopReason.SUCCESS, {"n": 9})
