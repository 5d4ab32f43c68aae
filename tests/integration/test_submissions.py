"""Submissions: what a service with Celery sends becomes one run, or a refusal it can ask for."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from subprocess import Popen
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from config.broker import submissions
from config.settings import BrokerSettings, Settings
from models.admission import Admission, Receipt
from models.database import hot
from models.request import Request
from models.tenant import create_key
from producer.client import Client, signed, submissions_queue
from tests.conftest import fleet_of, until
from tests.service import Shop, redis_of, serving
from worker.ingress import Ingress

BELLS = "sluice.bells"
on_redis = pytest.mark.parametrize("broker_url", ["redis"], indirect=True, scope="module")


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return request.getfixturevalue("rabbitmq").url


@pytest.fixture(scope="module")
def worker(broker_url: str, schema: str, tmp_path_factory: Any) -> Iterator["Popen[bytes]"]:
    """One worker process for all of this file: what comes before must not harm what comes after."""
    with fleet_of(schema, broker_url, tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet.workers(1)[0]


@pytest.fixture(scope="module")
async def api_url(opened: str) -> AsyncIterator[str]:
    async with serving(opened) as url:
        yield url


@pytest.fixture
async def shop(database: str, worker: "Popen[bytes]", broker_url: str) -> AsyncIterator[Shop]:
    """A service of tenant acme; in the end the worker still lives and still takes submissions."""
    shop = Shop(broker_url, await create_key("acme"))
    yield shop
    after = f"after {uuid4()}"
    shop.send(shop.fields(after))
    await until(lambda: run_of(after))
    assert worker.poll() is None


@pytest.fixture
async def sluice(api_url: str, shop: Shop) -> AsyncIterator[Client]:
    async with Client(api_url, shop.api_key) as client:
        yield client


async def run_of(key: str) -> Any:
    return await hot().fetchval("SELECT run_id FROM request_key WHERE key = $1", key)


async def refused(key: str) -> Any:
    """The refusal of a key, or of what had no key to read."""
    return await until(
        lambda: hot().fetchrow(
            "SELECT * FROM refusal WHERE key = $1 ORDER BY refused_at DESC LIMIT 1", key
        )
    )


async def test_a_submission_becomes_one_run_however_often_it_is_sent(shop, sluice):
    shop.send(*[shop.fields("order 1")] * 5)

    run = await until(lambda: run_of("order 1"))
    told = await sluice.get(str(run), wait_s=10)

    assert (told["stop_reason"], told["result"]) == ("success", {"n": 1})
    await until(lambda: empty(shop))
    assert await hot().fetchval("SELECT count(*) FROM run") == 1
    assert await hot().fetchval("SELECT count(*) FROM refusal") == 0
    assert (await sluice.request("order 1"))["state"] == "accepted"


async def empty(shop: Shop) -> bool:
    return shop.waiting() == 0


async def test_the_clients_queue_is_the_one_that_workers_declare(broker_url):
    ours, theirs = submissions(broker_url, Settings()), submissions_queue(broker_url)

    assert (ours.name, ours.queue_arguments) == (theirs.name, theirs.queue_arguments)


@on_redis
async def test_on_redis_a_plain_celery_app_needs_only_the_url_and_the_queues_name(shop):
    app = Celery("any-service", broker=shop.broker_url, set_as_current=False)

    fields = signed(shop.fields("plain"), shop.api_key)
    app.send_task("sluice.submit", kwargs=fields, queue="sluice.submissions")
    app.close()

    await until(lambda: run_of("plain"))


@on_redis
async def test_a_service_with_workers_on_the_same_redis_keeps_its_own_unacked_messages(shop):
    shop.send(shop.fields("somebody reads"))
    await until(lambda: run_of("somebody reads"))
    with redis_of(shop.broker_url) as client:
        client.hset("unacked", "theirs", json.dumps([{}, "", "their-queue"]))
        client.zadd("unacked_index", {"theirs": 0})  # overdue by fifty years

    await asyncio.sleep(1.5)  # an idle reader looks for overdue ones at every poll

    with redis_of(shop.broker_url) as client:
        assert client.hexists("unacked", "theirs"), "restored by us, and run twice by them"
        client.delete("unacked", "unacked_index", "their-queue")


@pytest.mark.parametrize(
    ("over_http", "over_celery"),
    [
        ({"n": 1}, {"n": 1.0}),
        ({"n": -0.0}, {"n": 0}),
        ({"n": 2**53}, {"n": 2**53}),
    ],
)
async def test_one_key_sent_both_ways_is_one_request(shop, sluice, over_http, over_celery):
    first = await sluice.submit("noop", over_http, key="both ways", subject="caf\u00e9")
    shop.send(shop.fields("both ways", input=over_celery, subject="cafe\u0301"))
    shop.send(shop.fields("late", input=over_celery))
    run = await until(lambda: run_of("late"))

    again = await sluice.submit("noop", over_http, key="late")

    assert (again.run_id, again.replayed) == (str(run), True)
    assert await hot().fetchval("SELECT count(*) FROM refusal") == 0
    assert str(await run_of("both ways")) == first.run_id
    assert await hot().fetchval("SELECT count(*) FROM run") == 2


Sent = Callable[[Shop, str], None]


def _resigned(shop: Shop, key: str, **changed: Any) -> None:
    """Signed first, changed afterwards."""
    shop.send(signed(shop.fields(key), shop.api_key) | changed, sign=False)


READABLE: dict[str, tuple[Sent, str]] = {
    "positional arguments": (
        lambda s, k: s.send(s.fields(k), args=["x"]), "malformed"),
    "a field nobody knows": (
        lambda s, k: s.send(s.fields(k, retries=3)), "malformed"),
    "a pipeline nobody runs": (
        lambda s, k: s.send(s.fields(k, pipeline="nope")), "unknown_pipeline"),
    "an input that does not fit": (
        lambda s, k: s.send(s.fields(k, input={"n": "x"})), "invalid_input"),
    "no input": (
        lambda s, k: s.send({n: v for n, v in s.fields(k).items() if n != "input"}), "malformed"),
    "a subject that is no text": (
        lambda s, k: s.send(s.fields(k, subject=7)), "malformed"),
    "a priority out of range": (
        lambda s, k: s.send(s.fields(k, priority=10)), "malformed"),
    "another task's name": (
        lambda s, k: s.send(s.fields(k), name="shop.invoice"), "malformed"),
    "a key of 300 bytes": (
        lambda s, k: s.send(s.fields(k.ljust(300, "x"))), "malformed"),
    "a long key and another fault": (
        lambda s, k: s.send(s.fields(k.ljust(255, "x"), input=None)), "invalid_input"),
    "half a surrogate pair": (
        lambda s, k: s.send(s.fields(k, input={"n": "\ud800"})), "malformed"),
    "an integer beyond 64 bits": (
        lambda s, k: s.send(s.fields(k, input={"n": 2**64})), "malformed"),
    "nesting of 300": (
        lambda s, k: s.send(s.fields(k, input=_nested(300))), "malformed"),
    "a body of 1 MB": (
        lambda s, k: s.send(s.fields(k, input={"n": "x" * 1_000_000})), "too_large"),
    "what kombu's JSON would turn into a date": (
        lambda s, k: s.send(s.fields(
            k, input={"n": {"__type__": "datetime", "__value__": "2026-01-01"}})),
        "invalid_input"),
    "what kombu's JSON would choke on": (
        lambda s, k: s.send(s.fields(k, input={"n": {"__type__": "x", "__value__": 1}})),
        "invalid_input"),
    "no signature": (
        lambda s, k: s.send(s.fields(k), sign=False), "unproven"),
    "a signature of another form": (
        lambda s, k: s.send(s.fields(k, signature="x"), sign=False), "unproven"),
    "a signature with a foreign letter": (
        lambda s, k: _resigned(s, k, signature=f"v1:{s.api_key[4:20]}:\u00e9"), "unproven"),
    "a key id with a NUL": (
        lambda s, k: s.send(s.fields(k, signature="v1:\x00:ab"), sign=False), "unproven"),
    "a key id that is half a surrogate": (
        lambda s, k: s.send(s.fields(k, signature="v1:\ud800:ab"), sign=False), "unproven"),
    "an unknown signing key": (
        lambda s, k: s.send(signed(s.fields(k), f"slk_{'0' * 16}_{'x' * 43}"), sign=False),
        "unproven"),
    "an input changed on the way": (
        lambda s, k: _resigned(s, k, input={"n": 2}), "unproven"),
    "a subject added on the way": (
        lambda s, k: _resigned(s, k, subject="x"), "unproven"),
}  # fmt: skip


_LENGTHS = {"a key of 300 bytes": 300, "a long key and another fault": 255}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@on_redis
@pytest.mark.parametrize("what", READABLE)
async def test_what_is_wrong_is_told_by_its_key(shop, sluice, what):
    send, code = READABLE[what]
    key = f"{what} / 100%"
    asked = key.ljust(_LENGTHS.get(what, 0), "x")

    send(shop, key)

    told = await until(lambda: sluice.request(asked))
    assert (told["state"], told["code"]) == ("refused", code), told["detail"]
    assert await hot().fetchval("SELECT count(*) FROM request_key") == 0


UNREADABLE: dict[str, Sent] = {
    "a body that is no JSON": lambda s, k: s.publish(b"{nope"),
    "a body in Latin-1": lambda s, k: s.publish("[[], {'k': '\u00e9'}]".encode("latin-1")),
    "an empty body": lambda s, k: s.publish(b""),
    "a number": lambda s, k: s.publish("42"),
    "a list that is too short": lambda s, k: s.publish("[[]]"),
    "keyword arguments that are a list": lambda s, k: s.publish("[[], [], {}]"),
    "arguments in place of keyword arguments": lambda s, k: s.send({}, args=[k], sign=False),
    "no key": lambda s, k: s.send({n: v for n, v in s.fields(k).items() if n[0] != "i"}),
    "a key that is no text": lambda s, k: s.send(s.fields(k, idempotency_key=[7])),
    "a tenant that is no text": lambda s, k: s.send(s.fields("", tenant={"a": 1}), sign=False),
    "not a number": lambda s, k: s.publish_fields(s.fields(k, input={"n": float("nan")})),
    "nesting of 100,000": lambda s, k: s.publish("[" * 100_000 + "]" * 100_000),
    "an integer of 5,000 digits": lambda s, k: s.publish(f'[[], {{"input": {"9" * 5000}}}, {{}}]'),
    "a pickle": lambda s, k: s.send(s.fields(k), serializer="pickle"),
    "YAML by its content type": lambda s, k: s.publish("a: b", content_type="application/x-yaml"),
    "a compression nobody has": lambda s, k: s.publish("[]", headers={"compression": "x/y"}),
    "a body that is not compressed as it says": lambda s, k: s.publish(
        "[]", headers={"compression": "application/x-gzip"}
    ),
    "headers of other types": lambda s, k: s.publish(
        "[[], {}, {}]", headers={"task": {"a": [1]}, "id": 7}
    ),
    "a body of 5 MB": lambda s, k: s.send(s.fields(k, input="x" * 5_000_000)),
}


@on_redis
@pytest.mark.parametrize("what", UNREADABLE)
async def test_what_cannot_be_read_is_refused_and_stops_nobody(shop, what):
    UNREADABLE[what](shop, what)

    row = await refused("?")
    assert row["code"] in {"malformed", "too_large", "unproven"}
    assert len(row["detail"]) > 10
    assert await hot().fetchval("SELECT count(*) FROM request_key") == 0


async def test_all_that_is_wrong_at_once_keeps_nothing_good_from_becoming_a_run(shop):
    for number, what in enumerate([*READABLE, *UNREADABLE]):
        send = READABLE[what][0] if what in READABLE else UNREADABLE[what]
        send(shop, f"bad {number}")
        shop.send(shop.fields(f"good {number}"))

    count = len(READABLE) + len(UNREADABLE)
    await until(lambda: rows("refusal", count))
    await until(lambda: rows("run", count))
    assert await hot().fetchval("SELECT count(*) FROM request_key WHERE key LIKE 'bad%'") == 0


async def rows(table: str, count: int) -> bool:
    return await hot().fetchval(f"SELECT count(*) FROM {table}") == count  # noqa: S608


RAW = {
    "bytes that are no text": b"\xff\xfe\x00garbage",
    "a text that is no JSON": b"hello",
    "a list": b"[]",
    "an object without anything": b"{}",
    "properties that are a number": b'{"properties": 1}',
    "no delivery tag": b'{"body": "", "properties": {"delivery_info": {}}}',
    "a delivery tag that is a list": b'{"body": "", "properties": {"delivery_tag": [], '
    b'"delivery_info": {"exchange": "", "routing_key": "x"}}}',
    "a body that is no base64": b'{"body": "!", "properties": {"delivery_tag": "t", "body_encoding"'
    b': "base64", "delivery_info": {"exchange": "", "routing_key": "x"}}}',
    "a body in an encoding nobody has": b'{"body": "!", "properties": {"delivery_tag": "t", '
    b'"body_encoding": "rot13", "delivery_info": {"exchange": "", "routing_key": "x"}}}',
    "headers that are a list": b'{"body": "", "headers": [1], "properties": {"delivery_tag": "t", '
    b'"delivery_info": {"exchange": "", "routing_key": "x"}}}',
    "nesting without end": b"[" * 100_000,
}


@on_redis
@pytest.mark.parametrize("what", RAW)
async def test_whatever_somebody_pushes_on_the_redis_list_is_refused_and_loses_nobody(shop, what):
    shop.send(shop.fields("before"))
    shop.push(RAW[what])
    shop.send(shop.fields("behind"))

    await refused("?")
    assert await until(lambda: run_of("before"))
    assert await until(lambda: run_of("behind"), within_s=5), "and not only after a time-out"


async def test_another_payload_under_a_known_key_is_refused_and_the_first_stands(shop, sluice):
    shop.send(shop.fields("twice"))
    run = await until(lambda: run_of("twice"))
    shop.send(shop.fields("twice", input={"n": 2}))

    row = await refused("twice")

    assert row["code"] == "key_reused"
    assert "input.n" in row["detail"]
    assert (await sluice.request("twice"))["run_id"] == str(run)


async def test_a_refused_key_may_be_sent_again_in_order(shop, sluice):
    shop.send(shop.fields("second try", input={"n": "x"}))
    await refused("second try")

    shop.send(shop.fields("second try"))

    await until(lambda: run_of("second try"))
    assert (await sluice.request("second try"))["state"] == "accepted"


async def test_a_tenant_cannot_submit_in_the_name_of_another(shop, sluice):
    stranger = Shop(shop.broker_url, await create_key("mallory"))

    stranger.send(stranger.fields("theirs", tenant="acme"))

    assert (await refused("theirs"))["code"] == "unproven"
    assert await run_of("theirs") is None


async def test_a_revoked_key_signs_nothing_any_more(shop):
    old = Shop(shop.broker_url, await create_key("acme"))
    await hot().execute("UPDATE api_key SET revoked_at = now() WHERE id = $1", old.api_key[4:20])

    old.send(old.fields("too late"))

    assert (await refused("too late"))["code"] == "unproven"


async def test_what_the_client_signs_is_what_json_makes_of_it(shop):
    shop.send(shop.fields("types", input={"n": 1}, subject=None) | {"priority": True + 1})
    fields = signed(shop.fields("names", input={1: 2, 10: 3, 9: (4,)}), shop.api_key)
    shop.send(fields, sign=False)

    await until(lambda: run_of("types"))
    assert (await refused("names"))["code"] == "invalid_input", "the proof held, the input did not"


MALFORMED_BELLS: dict[str, Callable[[Shop], None]] = {
    "no JSON": lambda s: s.publish(b"{nope", to=BELLS, headers={"task": "sluice.bell"}),
    "the wrong shape": lambda s: s.publish("42", to=BELLS, headers={"task": "sluice.bell"}),
    "wrong arguments": lambda s: s.publish(
        '[{"a": 1}, 7, []]', to=BELLS, headers={"task": "sluice.bell"}
    ),
    "an ETA that is no time": lambda s: s.publish(
        "[[], {}, {}]", to=BELLS, headers={"task": "sluice.bell", "eta": "x", "expires": {"a": 1}}
    ),
    "an unknown task": lambda s: s.publish("[[], {}, {}]", to=BELLS, headers={"task": "x"}),
    "no task": lambda s: s.publish("[[], {}, {}]", to=BELLS, headers={"task": None}),
    "a pickle": lambda s: s.publish(
        b"\x80\x04.", to=BELLS, content_type="application/x-python-serialize"
    ),
    "a compression nobody has": lambda s: s.publish("[]", to=BELLS, headers={"compression": "x"}),
}


@pytest.mark.parametrize("what", MALFORMED_BELLS)
async def test_a_malformed_bell_does_not_end_the_worker(shop, what):
    MALFORMED_BELLS[what](shop)
    if shop.broker_url.startswith("redis"):
        shop.push(RAW["a text that is no JSON"], to=BELLS)
        shop.push(RAW["an object without anything"], to=BELLS)
    shop.publish("[[], {}, {}]", to=BELLS, headers={"task": "sluice.bell"})

    async def heard() -> bool:
        return shop.waiting(BELLS) == 0

    await until(heard, within_s=8)  # a bell that nobody hears would lie there for ten seconds


async def test_on_our_own_socket_a_submission_needs_no_signature_but_a_wrong_one_is_wrong(
    database, redis_url
):
    own = Settings(broker=BrokerSettings(submissions=f"trusted-{uuid4()}"))
    assert own.embedded
    ingress = Ingress(redis_url, own, Admission(patience_s=5), lambda: None)
    ingress.start()
    shop = Shop(redis_url, await create_key("acme"), queue=own.broker.submissions)

    shop.send(shop.fields("unsigned"), sign=False)
    shop.send(signed(shop.fields("changed"), shop.api_key) | {"subject": "x"}, sign=False)

    assert await until(lambda: run_of("unsigned"))
    assert (await refused("changed"))["code"] == "unproven"
    await asyncio.to_thread(ingress.stop)


class Faulty(Admission):
    """With a bug of ours that one submission meets."""

    async def __call__(self, request: Request) -> Receipt:
        if request.key == "bug":
            raise KeyError("a bug")
        return await super().__call__(request)


async def test_a_bug_of_ours_refuses_the_submission_that_meets_it_and_stops_nobody(
    database, redis_url
):
    own = Settings(broker=BrokerSettings(submissions=f"faulty-{uuid4()}"))
    ingress = Ingress(redis_url, own, Faulty(patience_s=5), lambda: None)
    shop = Shop(redis_url, "", queue=own.broker.submissions)
    shop.send(*(shop.fields(key) for key in ("before", "bug", "behind")), sign=False)
    ingress.start()

    assert (await refused("bug"))["code"] == "internal_error"
    assert await until(lambda: run_of("before"))
    assert await until(lambda: run_of("behind"))
    await asyncio.to_thread(ingress.stop)


async def test_while_the_database_is_unfit_submissions_wait_and_nobody_is_refused(
    database, redis_url
):
    own = Settings(broker=BrokerSettings(submissions=f"waiting-{uuid4()}"))
    ingress = Ingress(redis_url, own, Admission(patience_s=5), lambda: None)
    shop = Shop(redis_url, "", queue=own.broker.submissions)
    await hot().execute("ALTER TABLE request_key RENAME TO hidden")
    try:
        shop.send(*(shop.fields(f"k{n}") for n in range(3)), sign=False)
        ingress.start()
        await asyncio.sleep(0.7)
    finally:
        await hot().execute("ALTER TABLE hidden RENAME TO request_key")

    await until(lambda: rows("run", 3))
    assert await rows("refusal", 0)
    await asyncio.to_thread(ingress.stop)
