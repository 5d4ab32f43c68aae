"""The gate over HTTP: who may see it, who may flip it, and what is answered to whom."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from pydantic import SecretStr

from config.settings import Settings
from models.database import dsn, hot
from models.gate import GateMode, flip
from models.tenant import create_key
from producer.app import api as application
from tests.conftest import until
from tests.integration.test_api import Api
from tests.integration.test_doubt import in_doubt
from tests.integration.test_gate_commands import an_intent
from tests.proxy import proxied
from tests.service import serving

HALF = "half a letter, which JSON can spell and UTF-8 cannot: 500"
SHUT = {"scope": "fleet", "mode": "read_only", "reason": "desk ill"}


@pytest.fixture
async def ops(database: str) -> AsyncIterator[Api]:
    """With the key of an operator."""
    async with serving(database) as url, aiohttp.ClientSession() as session:
        yield Api(url, await create_key("ops", operator=True), session)


@pytest.fixture
async def acme(ops: Api) -> Api:
    return Api(ops.url, await create_key("acme"), ops.session)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        yield Path(folder)


async def put(api: Api, **more: Any) -> tuple[int, Any]:
    status, told, _ = await api("PUT", "/v1/gate", SHUT | more)
    return status, told


async def seen(api: Api) -> dict[str, Any]:
    status, told, _ = await api("GET", "/v1/gate")
    assert status == 200
    return {each.pop("scope"): each for each in told["gates"]}


async def gates() -> dict[str, str]:
    rows = await hot().fetch("SELECT scope, mode FROM gate WHERE mode <> 'open'")
    return {row["scope"]: row["mode"] for row in rows}


async def test_an_operators_key_flips_any_scope_and_hears_that_nothing_starts_any_more(ops):
    status, told = await put(ops)
    again = (await put(ops, reason="twice"))[1]
    await put(ops, scope="pipeline:noop", mode="closed")

    assert status == 200
    assert told == {
        "scope": "fleet", "mode": "read_only", "epoch": 1, "changed": True,
        "state": "drained", "may_start": 0, "under_way": 0, "in_doubt": [], "in_doubt_count": 0,
    }  # fmt: skip
    assert (again["changed"], again["epoch"]) == (False, 1)
    assert await gates() == {"fleet": "read_only", "pipeline:noop": "closed"}
    key = ops.key.split("_")[1]
    assert await hot().fetchval("SELECT who FROM gate WHERE scope = 'fleet'") == (
        f"operator ops, with key {key}"
    )
    status, told = await put(ops, mode="open", reason="well")
    assert (status, told["mode"], told["changed"]) == (200, "open", True)


async def test_the_answer_waits_until_no_write_starts_and_names_the_writes_in_doubt(
    submit, attempt, world, ops
):
    doubtful = await in_doubt(submit, attempt, world)
    run = await submit("five-writes", {})
    await an_intent(run)
    asked = asyncio.create_task(put(ops))
    await until(gates)
    await asyncio.sleep(0.3)
    early = (await seen(ops))["fleet"]["state"], asked.done()
    await hot().execute("UPDATE ledger_entry SET send_before = now() WHERE run_id = $1", run)

    told = (await asked)[1]

    assert early == ("stopping", False)
    assert (told["state"], told["may_start"], told["under_way"]) == ("stopped", 0, 1)
    assert told["in_doubt"] == [{"run_id": str(doubtful), "step": "once", "tool": "probe.once"}]
    await hot().execute("UPDATE ledger_entry SET quiet_at = now() WHERE run_id = $1", run)
    fleet = (await seen(ops))["fleet"]
    assert (fleet["state"], fleet["in_doubt_count"], fleet["who"]) == (
        "drained", 2, f"operator ops, with key {ops.key.split('_')[1]}",
    )  # fmt: skip


async def test_the_socket_of_our_own_folder_may_flip_everything(database, short_folder):
    own = Settings(database_url=SecretStr(database))
    async with application(own, database_url=database, broker_url=None) as app:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, str(short_folder / "api.sock")).start()
        plug = aiohttp.UnixConnector(str(short_folder / "api.sock"))
        async with aiohttp.ClientSession(connector=plug) as session:
            api = Api("http://sluice", None, session)

            status, told = await put(api, mode="closed")
            policys = await put(api, scope="policy")
            shown = (await seen(api))["fleet"]
        await runner.cleanup()

    assert (status, told["state"]) == (200, "drained")
    assert (shown["who"], shown["reason"]) == ("local, on this host", "desk ill")
    assert policys[0] == 403
    assert "safe_mode.enabled" in policys[1]["detail"]


async def test_a_tenants_key_flips_its_own_scope_and_no_other(acme):
    status, told = await put(acme, scope="tenant:acme")
    others = [
        await put(acme, scope=scope, mode=mode)
        for scope in ("fleet", "policy", "tenant:ops", "pipeline:noop", "tool:probe.write", "x")
        for mode in ("open", "closed")
    ]

    assert (status, told["state"]) == (200, "drained")
    assert {(status, told["code"]) for status, told in others} == {(403, "forbidden")}
    assert "this key flips tenant:acme alone" in others[0][1]["detail"]
    assert await gates() == {"tenant:acme": "read_only"}


async def test_a_tenant_sees_how_it_stands_but_no_reasons_and_no_other_tenants(acme, submit):
    for scope in ("fleet", "tenant:ops", "pipeline:noop", "tool:probe.write"):
        await flip(scope, GateMode.READ_ONLY, who="bob", reason="a secret of ops")
    await flip("policy", GateMode.READ_ONLY, who="policy", reason="a secret of the policy")

    _, told, _ = await acme("GET", "/v1/gate")

    assert [each["scope"] for each in told["gates"]] == ["fleet", "policy"]
    assert [set(each) for each in told["gates"]] == [{"scope", "mode", "changed_at"}] * 2


async def test_a_tenant_is_not_told_why_an_operator_shut_it_nor_who(acme):
    await flip("tenant:acme", GateMode.CLOSED, who="bob", reason="fraud, the police knows")

    own = (await seen(acme))["tenant:acme"]

    assert own["mode"] == "closed"
    assert "fraud" not in str(own)
    assert "bob" not in str(own)


async def test_a_tenant_does_not_open_what_an_operator_has_shut(acme):
    await flip("tenant:acme", GateMode.CLOSED, who="bob", reason="a loop")

    assert (await put(acme, scope="tenant:acme", mode="open"))[0] == 403
    assert await gates() == {"tenant:acme": "closed"}


@pytest.mark.parametrize("key", [None, "slk_0123456789abcdef_" + "x" * 43, "nonsense"])
async def test_who_is_not_known_sees_and_flips_nothing(ops, key):
    nobody = Api(ops.url, key, ops.session)

    assert (await put(nobody))[0] == 401
    assert (await nobody("GET", "/v1/gate"))[0] == 401
    assert await gates() == {}


def odd(body: bytes, said: str, why: str):
    return pytest.param(body, said, id=why)


@pytest.mark.parametrize(("body", "said"), [
    (b"", "JSON"),
    (b"[]", "JSON object"),
    (b'{"scope": "fleet"', "JSON"),
    (b"{}", "mode is one of open, read_only, closed"),
    (b'{"scope": "fleet", "mode": "shut", "reason": "x"}', "mode is one of"),
    (b'{"scope": "fleet", "mode": null, "reason": "x"}', "mode is one of"),
    odd(b'{"scope": "fleet", "mode": ["open"], "reason": "x"}', "mode is", "unhashable: 500"),
    odd(b'{"scope": "fleet", "mode": {}, "reason": "x"}', "mode is", "unhashable: 500"),
    (b'{"scope": "fleet", "mode": "closed"}', "reason is needed"),
    (b'{"scope": "fleet", "mode": "closed", "reason": " \\n"}', "reason is needed"),
    (b'{"scope": "fleet", "mode": "closed", "reason": "a\\u0000"}', "reason is needed"),
    (b'{"scope": "fleet", "mode": "closed", "reason": 7}', "reason is needed"),
    odd(b'{"scope": "fleet", "mode": "closed", "reason": "\\ud800"}', "reason", HALF),
    odd(b'{"scope": "tenant:\\ud800", "mode": "closed", "reason": "x"}', "scope is needed", HALF),
    odd(b'{"scope": "fleet", "mode": "closed", "reason": "x", "\\ud800": 1}', "unknown", HALF),
    (b'{"scope": "fleet", "mode": "closed", "reason": "x", "wait": 1}', "unknown fields: wait"),
    (b'{"mode": "closed", "reason": "x"}', "scope is needed"),
    (b'{"scope": ["fleet"], "mode": "closed", "reason": "x"}', "scope is needed"),
    (b'{"scope": "flet", "mode": "closed", "reason": "x"}', "'flet' is no scope"),
    (b'{"scope": "tenant:acne", "mode": "closed", "reason": "x"}', "'acne'"),
    odd(b'{"scope": "tenant:acne", "mode": "open", "reason": "x"}', "'acne'", "it is opened"),
])  # fmt: skip
async def test_what_cannot_be_read_flips_nothing_and_says_why(ops, body, said):
    status, told, _ = await ops("PUT", "/v1/gate", body)

    assert (status, await gates()) == (400, {})
    assert told["code"] == "malformed"
    assert said in told["detail"]
    assert await hot().fetchval("SELECT count(*) FROM gate") == 1


async def test_while_postgres_is_away_a_flip_is_told_to_come_again(database, ops, short_folder):
    async with proxied(database, short_folder) as (proxy, through), serving(through) as url:
        ops = Api(url, ops.key, ops.session)
        assert (await put(ops))[0] == 200
        await proxy.shut()

        flipped = await ops("PUT", "/v1/gate", SHUT | {"mode": "closed"})
        looked = await ops("GET", "/v1/gate")

        for status, told, headers in (flipped, looked):
            assert (status, told["code"], headers["Retry-After"]) == (503, "not_now", "1")
    assert await gates() == {"fleet": "read_only"}


async def test_a_gate_that_somebody_holds_is_told_with_who_holds_it(database, ops, monkeypatch):
    monkeypatch.setattr("producer.app.ANSWER_S", 0.5)  # or this takes five seconds
    holder = await asyncpg.connect(dsn(database), server_settings={"application_name": "backup"})
    await holder.execute("BEGIN; SELECT FROM gate")
    busy = asyncio.create_task(holder.execute("SELECT pg_sleep(20)"))

    status, told = await put(ops)
    await hot().execute("SELECT pg_terminate_backend($1)", holder.get_server_pid())
    await asyncio.gather(busy, return_exceptions=True)

    assert (status, told["code"]) == (503, "not_now")
    assert "(backup) holds its table" in told["detail"]
