"""Accepting: over HTTP, in bulk, and through the broker; no worker takes what is accepted."""

import asyncio
from collections.abc import Sequence

from config.broker import SUBMIT, make_app
from config.settings import Settings
from models.database import hot
from models.tenant import create_key, signature, signing_key_of
from tests.benchmarks.lab import TENANT, Bench, Lab, Values
from tests.benchmarks.meter import Meter
from tests.benchmarks.wire import load, post
from worker.submission import signed_text

_WARM_UP = 200
_PER_BODY = 500


async def http(lab: Lab, *, connections: int) -> Values:
    """POST /v1/runs, each with a key of its own, to one API process."""
    async with lab.bench() as bench:
        pid, port = bench.api()
        bearer = await create_key(TENANT)
        requests = [
            post("/v1/runs", _wanted(i), bearer=bearer, key=f"http-{i}")
            for i in range(lab.sizes.http + _WARM_UP)
        ]
        load(port, requests[:_WARM_UP], connections=connections)
        with lab.meter({"api": pid}).running() as meter:
            statuses = load(port, requests[_WARM_UP:], connections=connections)
        _all(statuses, 202, lab.sizes.http)
        await _stored(lab.sizes.http + _WARM_UP)
        return _values(meter, lab.sizes.http, "api")


async def bulk(lab: Lab) -> Values:
    """POST /v1/runs/bulk, 500 requests a body, over four connections."""
    async with lab.bench() as bench:
        pid, port = bench.api()
        bearer = await create_key(TENANT)
        wanted = [_wanted(i) | {"idempotency_key": f"bulk-{i}"} for i in range(lab.sizes.bulk)]
        bodies = [
            post("/v1/runs/bulk", {"requests": wanted[at : at + _PER_BODY]}, bearer=bearer)
            for at in range(0, len(wanted), _PER_BODY)
        ]
        with lab.meter({"api": pid}).running() as meter:
            statuses = load(port, bodies, connections=4)
        _all(statuses, 200, len(bodies))
        await _stored(lab.sizes.bulk)
        return _values(meter, lab.sizes.bulk, "api")


async def broker(lab: Lab) -> Values:
    """Submissions that wait in the broker, read into rows by one worker that runs none of them."""
    async with lab.bench() as bench:
        await asyncio.to_thread(_publish, bench, await create_key(TENANT), lab.sizes.broker)
        async with bench.held_back("request_key") as gun:
            pid = await bench.worker(WORKER__CATALOGUES='["worker.pipelines"]')
            with lab.meter({"worker": pid}).running() as meter:
                fired_at = await gun.fire()
                while await hot().fetchval("SELECT count(*) FROM run") < lab.sizes.broker:
                    await asyncio.sleep(0.1)
        last = await hot().fetchval("SELECT max(created_at) FROM run")
        await _stored(lab.sizes.broker)
        took_s = (last - fired_at).total_seconds()
        return _values(meter, lab.sizes.broker, "worker") | {"per_s": lab.sizes.broker / took_s}


def _publish(bench: Bench, key: str, count: int) -> None:
    settings = Settings()
    app = make_app(bench.lab.broker_url, settings)
    key_id, secret = key.split("_")[1], signing_key_of(key)
    for i in range(count):
        fields = _wanted(i) | {"tenant": TENANT, "idempotency_key": f"broker-{i}"}
        fields["signature"] = f"v1:{key_id}:{signature(secret, signed_text(fields))}"
        app.send_task(SUBMIT, kwargs=fields, queue=settings.broker.submissions)
    app.close()


def _wanted(i: int) -> dict[str, object]:
    return {"pipeline": "noop", "input": {"n": i}}


def _all(statuses: dict[int, int], status: int, count: int) -> None:
    if statuses != {status: count}:
        raise AssertionError(f"{count} answers of {status} were due, but there were {statuses}")


async def _stored(count: int) -> None:
    row: Sequence[int] = await hot().fetchrow(
        "SELECT count(*), count(DISTINCT input::text),"
        " (SELECT count(*) FROM request_key JOIN run ON run.id = run_id),"
        " (SELECT count(*) FROM refusal) FROM run"
    )
    if tuple(row) != (count, count, count, 0):
        raise AssertionError(f"{count} different runs were due, but the tables say {tuple(row)}")


def _values(meter: Meter, count: int, process: str) -> Values:
    return {
        "per_s": count / meter.wall_s,
        "cpu_us": 1e6 * meter.cpu_s[process] / count,
        "postgres_us": 1e6 * meter.cpu_s["postgres"] / count,
        "client_us": 1e6 * meter.cpu_s["client"] / count,
        "foreign_percent": meter.foreign_percent,
    }
