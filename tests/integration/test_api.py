"""The API: what a client is told, whatever it sends and whoever it is."""

import asyncio
import gzip
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import pytest
from yarl import URL

from config.settings import ApiSettings
from models.database import hot
from models.tenant import create_key
from producer.client import Away, Client, Refused
from tests.conftest import fleet_of, free_port, until
from tests.proxy import proxied
from tests.service import serving


class Api:
    """One tenant's plain HTTP, without the client's manners."""

    def __init__(self, url: str, key: str | None, session: aiohttp.ClientSession) -> None:
        self.url, self.key, self.session = url, key, session

    async def __call__(
        self, method: str, path: str, body: Any = None, *, key: Any = None, **headers: str
    ) -> tuple[int, Any, Any]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            given.setdefault("Authorization", f"Bearer {self.key}")
        if key is not None:
            given["Idempotency-Key"] = key
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self.session.request(
            method, URL(self.url + path, encoded=True), data=data, headers=given
        ) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text[:1] in b"{[" else text, answer.headers

    async def submit(self, key: Any = None, given: Any = None, **more: Any) -> Any:
        body = {"pipeline": "noop", "input": {"n": 1} if given is None else given} | more
        return await self("POST", "/v1/runs", body, key=key)


@pytest.fixture
async def api_url(opened: str) -> AsyncIterator[str]:
    async with serving(opened) as url:
        yield url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def api(database: str, api_url: str, session: aiohttp.ClientSession) -> Api:
    return Api(api_url, await create_key("acme"), session)


@pytest.fixture
async def stranger(api: Api) -> Api:
    return Api(api.url, await create_key("mallory"), api.session)


@pytest.fixture
def worker(schema: str, tmp_path: Path) -> Iterator[None]:
    with fleet_of(schema, None, tmp_path) as fleet:
        fleet.workers(1)
        yield


async def stored() -> int:
    return await hot().fetchval("SELECT count(*) FROM run")


# Once for each key


async def test_an_accepted_request_gets_its_place(api):
    status, told, headers = await api.submit("order 1")

    assert (status, told["status"], told["replayed"]) == (202, "queued", False)
    assert headers["Location"] == f"/v1/runs/{told['run_id']}"
    assert "Idempotent-Replayed" not in headers
    status, run, _ = await api("GET", headers["Location"])
    assert (status, run["idempotency_key"], run["status"]) == (200, "order 1", "queued")


async def test_a_repeated_request_gets_the_first_run_back(api):
    _, first, _ = await api.submit("order 1")

    status, again, headers = await api.submit("order 1")

    assert (status, headers["Idempotent-Replayed"]) == (202, "true")
    assert (again["run_id"], again["replayed"]) == (first["run_id"], True)
    assert headers["Location"] == f"/v1/runs/{first['run_id']}"
    assert await stored() == 1


async def test_a_repeated_request_gets_the_outcome_once_there_is_one(api, worker):
    _, first, _ = await api.submit("order 1")
    await api("GET", f"/v1/runs/{first['run_id']}?wait=20")

    status, again, headers = await api.submit("order 1")

    assert (status, headers["Idempotent-Replayed"]) == (200, "true")
    assert (again["status"], again["stop_reason"], again["result"]) == (
        "finished",
        "success",
        {"n": 1},
    )


@pytest.mark.parametrize(
    ("bare", "quoted"),
    [("order-1", '"order-1"'), ('a"b', r'"a\"b"'), ("a\\b", r'"a\\b"'), ("a\\", r'"a\\"')],
)
async def test_a_quoted_key_is_the_same_key(api, bare, quoted):
    _, first, _ = await api.submit(bare)
    _, again, _ = await api.submit(quoted)

    assert again["run_id"] == first["run_id"]
    assert (await api("GET", f"/v1/runs/{first['run_id']}"))[1]["idempotency_key"] == bare


async def test_a_reused_key_names_what_differs_but_not_the_other_payloads_values(api):
    await api.submit("k", {"n": 4242424242}, subject="patient 77")

    status, told, _ = await api.submit("k", {"n": 1}, subject="patient 78")

    assert (status, told["code"]) == (422, "key_reused")
    assert "input.n" in told["detail"]
    assert "subject" in told["detail"]
    assert "4242424242" not in json.dumps(told)
    assert "77" not in json.dumps(told)


async def test_one_and_true_are_two_payloads_and_the_refusal_says_where(api):
    await api.submit("k", {"source": "s", "id": "1", "text": "t"}, pipeline="ticket-triage")
    told = (await api.submit("k", {"n": 1}))[1]
    assert "pipeline" in told["detail"]

    await hot().execute("""UPDATE run SET pipeline = 'noop', input = '{"n": true}'""")
    told = (await api.submit("k", {"n": 1}))[1]

    assert "input.n" in told["detail"]


# What cannot be read


@pytest.mark.parametrize(
    "key", [None, "", "   ", '""', '" "', "x" * 256, "\u00e9" * 128, '"' + "x" * 256 + '"']
)
async def test_a_key_is_a_text_of_1_to_255_bytes(api, key):
    status, told, _ = await api.submit(key)

    assert (status, told["code"], told["pointer"]) == (400, "malformed", "/idempotency_key")
    assert await stored() == 0


async def test_a_key_of_255_bytes_is_kept_whole(api):
    key = "\u00e9" * 127 + "x"

    assert (await api.submit(key))[0] == 202
    assert (await api("GET", f"/v1/requests/{quote(key)}"))[0] == 200


def body(**fields: Any) -> bytes:
    return json.dumps({"pipeline": "noop", "input": {}} | fields).encode()


def given(text: bytes) -> bytes:
    return b'{"pipeline": "noop", "input": ' + text + b"}"


BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"7",
    "UTF-16": body().decode().encode("utf-16"),
    "Latin-1": given(b'{"n": "\xe9"}'),
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "no pipeline": b'{"input": {}}',
    "no input": b'{"pipeline": "noop"}',
    "an unknown field": body(retries=3),
    "an unknown field that is half a surrogate": body(**{"\ud800": 3}),
    "a pipeline that is a list": body(pipeline=["noop"]),
    "a pipeline with a NUL": body(pipeline="no\0op"),
    "a subject with a NUL": body(subject="a\0"),
    "a subject that is half a surrogate": body(subject="\ud800"),
    "a subject of 256 bytes": body(subject="x" * 256),
    "a priority that is true": body(priority=True),
    "a priority of 10": body(priority=10),
    "not a number": given(b'{"n": NaN}'),
    "infinity": given(b'{"n": -Infinity}'),
    "a float beyond all floats": given(b'{"n": 1e999}'),
    "an integer beyond 64 bits": given(b'{"n": 18446744073709551616}'),
    "an integer of 5,000 digits": given(b"9" * 5000),
    "half a surrogate pair": body(input={"n": "\ud800"}),
    "half a surrogate pair as a name": body(input={"\udfff": 1}),
    "nesting of 300": given(b"[" * 300 + b"]" * 300),
    "nesting of 100,000": given(b"[" * 100_000 + b"]" * 100_000),
}


@pytest.mark.parametrize("what", BODIES)
async def test_a_body_that_cannot_be_a_request_is_refused_with_a_sentence(api, what):
    status, told, headers = await api("POST", "/v1/runs", BODIES[what], key="k")

    assert (status, told["code"]) == (400, "malformed")
    assert len(told["detail"].split()) >= 3
    assert headers["Content-Type"] == "application/problem+json"
    assert await stored() == 0
    assert (await api.submit("k"))[0] == 202, "nothing was kept under the key"


async def test_a_body_may_be_compressed_but_not_falsely(api):
    body = json.dumps({"pipeline": "noop", "input": {}}).encode()

    good = await api("POST", "/v1/runs", gzip.compress(body), key="k", Content_Encoding="gzip")
    bad = await api("POST", "/v1/runs", body, key="l", Content_Encoding="gzip")

    assert (good[0], bad[0]) == (202, 400)


async def test_a_body_of_more_than_the_limit_is_refused(api):
    status, told, _ = await api.submit("k", {"n": "x" * 300_000})

    assert (status, told["code"]) == (413, "too_large")
    bomb = gzip.compress(b"[" * 5_000_000)
    status, *_ = await api("POST", "/v1/runs", bomb, key="k", Content_Encoding="gzip")
    assert status == 413


async def test_an_unknown_pipeline_is_refused_and_the_known_ones_are_named(api):
    status, told, _ = await api.submit("k", pipeline="nope")

    assert (status, told["code"], told["pointer"]) == (422, "unknown_pipeline", "/pipeline")
    assert "ticket-triage" in told["detail"]


async def test_an_invalid_input_is_refused_with_a_pointer_to_the_fault(api):
    status, told, _ = await api.submit("k", {"n": "seven"})

    assert (status, told["code"], told["pointer"]) == (422, "invalid_input", "/input/n")
    assert "integer" in told["detail"]


# Who asks


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer slk_x", f"Bearer slk_{'0' * 16}_{'x' * 43}", "Basic YTpi"],
)
async def test_without_a_key_of_ours_nothing_is_told(api, authorization):
    nobody = Api(api.url, None, api.session)
    for method, path in (
        ("POST", "/v1/runs"),
        ("POST", "/v1/runs/bulk"),
        ("GET", f"/v1/runs/{uuid4()}"),
        ("GET", "/v1/requests/k"),
        ("GET", "/v1/reviews"),
        ("POST", f"/v1/reviews/{uuid4()}/verdict"),
    ):
        status, told, _ = await nobody(method, path, {}, Authorization=authorization)
        assert (status, told["code"]) == (401, "unauthenticated"), path


async def test_a_key_with_the_right_id_and_another_secret_is_no_key(api):
    forged = Api(api.url, api.key[:-1] + ("A" if api.key[-1] != "A" else "B"), api.session)

    assert (await forged.submit("k"))[0] == 401


async def test_a_revoked_key_is_refused_once_the_memory_of_it_is_stale(api, monkeypatch):
    monkeypatch.setattr("producer.auth._REMEMBERED_S", 0.5)
    assert (await api.submit("k"))[0] == 202
    await hot().execute("UPDATE api_key SET revoked_at = now() WHERE tenant = 'acme'")

    async def refused() -> bool:
        return (await api.submit("k"))[0] == 401

    assert not await refused()
    await until(refused, within_s=3)


async def test_tenants_never_see_each_others_runs_keys_or_reviews(api, stranger):
    _, mine, _ = await api.submit("shared name")
    review = await a_review(mine["run_id"])

    assert (await stranger("GET", f"/v1/runs/{mine['run_id']}"))[0] == 404
    assert (await stranger("GET", "/v1/requests/shared%20name"))[0] == 404
    assert (await stranger("GET", "/v1/reviews"))[1] == {"reviews": []}
    verdict = {"verdict": "approved"}
    assert (await stranger("POST", f"/v1/reviews/{review}/verdict", verdict))[0] == 404
    status, theirs, _ = await stranger.submit("shared name", {"n": 2})

    assert (status, theirs["replayed"]) == (202, False)
    assert theirs["run_id"] != mine["run_id"]
    assert len((await api("GET", "/v1/reviews"))[1]["reviews"]) == 1


async def a_review(run: str) -> Any:
    """As a run leaves it that asks a person."""
    return await hot().fetchval(
        "INSERT INTO review (id, run_id, step, tenant, kind, question, proposal)"
        " VALUES (gen_random_uuid(), $1, 'confirm', 'acme', 'uncertain', 'sure?', '{\"n\": 1}')"
        " RETURNING id",
        run,
    )


# What is not there, or has changed


async def test_what_does_not_exist_is_unknown(api):
    assert (await api("GET", f"/v1/runs/{uuid4()}"))[0] == 404
    assert (await api("GET", "/v1/runs/seven"))[0] == 400
    assert (await api("GET", "/v1/requests/nobody"))[0] == 404
    status, told, headers = await api("GET", "/v2/anything")
    assert (status, told["status"], told["code"]) == (404, 404, "not_found")
    assert headers["Content-Type"] == "application/problem+json"
    status, told, _ = await api("PUT", "/v1/runs")
    assert (status, told["code"]) == (405, "method_not_allowed")


async def test_a_review_is_decided_once(api):
    _, run, _ = await api.submit("k")
    review = await a_review(run["run_id"])
    path = f"/v1/reviews/{review}/verdict"

    both = await asyncio.gather(
        api("POST", path, {"verdict": "approved"}), api("POST", path, {"verdict": "rejected"})
    )

    assert sorted(status for status, *_ in both) == [200, 409]
    assert (await api("GET", "/v1/reviews"))[1] == {"reviews": []}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"verdict": "expired"}',
        b'{"verdict": ["approved"]}',
        b'{"verdict": "approved", "note": 7}',
        b'{"verdict": "approved", "note": "\\u0000"}',
        b'{"verdict": "approved", "who": "\\u0000"}',
        b'{"verdict": "approved", "x": 1}',
    ],
)
async def test_a_malformed_verdict_decides_nothing(api, body):
    _, run, _ = await api.submit("k")
    review = await a_review(run["run_id"])

    status, told, _ = await api("POST", f"/v1/reviews/{review}/verdict", body)

    assert (status, told["code"]) == (400, "malformed")
    assert len((await api("GET", "/v1/reviews"))[1]["reviews"]) == 1


KEYS = [
    "a/b",
    "a b",
    "100%",
    "%2F",
    "a%20b",
    "..",
    ".",
    "/",
    "a?b#c",
    "\u00e9\u4e2d",
    "a+b",
    "a//b",
]


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_of_any_letters_is_found_again(api, key):
    async with Client(api.url, api.key) as client:
        receipt = await client.submit("noop", {"n": 1}, key=key)

        told = await client.request(key)

    assert told is not None
    assert (told["state"], told["run_id"]) == ("accepted", receipt.run_id)


@pytest.mark.parametrize("path", ["%00", "a%00b", "%FF", "%ED%A0%80", "x" * 3000])
async def test_a_key_that_nobody_can_have_is_unknown(api, path):
    assert (await api("GET", f"/v1/requests/{path}"))[0] == 404


# Waiting


async def test_waiting_ends_when_the_run_is_over(api, worker):
    _, run, _ = await api.submit("k", {"seconds": 0.5}, pipeline="wait")
    started = time.monotonic()

    _, told, _ = await api("GET", f"/v1/runs/{run['run_id']}?wait=20")

    assert told["status"] == "finished"
    ended = told["finished_at"]
    late = await hot().fetchval("SELECT extract(epoch FROM now() - $1::text::timestamptz)", ended)
    assert late < 0.9, "told at once, not at the next look"
    assert time.monotonic() - started < 10


async def test_waiting_ends_when_the_time_is_up(api):
    _, run, _ = await api.submit("k")
    started = time.monotonic()

    status, told, _ = await api("GET", f"/v1/runs/{run['run_id']}?wait=0.3")

    assert (status, told["status"]) == (200, "queued")
    assert 0.3 <= time.monotonic() - started < 1


@pytest.mark.parametrize("wait", ["-1", "31", "nan", "inf", "soon", "1e9"])
async def test_a_wait_is_0_to_30_seconds(api, wait):
    _, run, _ = await api.submit("k")

    status, told, _ = await api("GET", f"/v1/runs/{run['run_id']}?wait={wait}")

    assert (status, told["code"]) == (400, "malformed")


# Many at once


async def test_in_bulk_each_is_accepted_or_refused_by_itself(api):
    good = {"idempotency_key": "good", "pipeline": "noop", "input": {"n": 1}}
    status, told, _ = await api(
        "POST",
        "/v1/runs/bulk",
        {
            "requests": [
                good,
                good,
                good | {"input": {"n": 2}},
                good | {"idempotency_key": None},
                {"pipeline": "noop", "input": {}},
                good | {"idempotency_key": "b", "pipeline": "nope"},
                good | {"idempotency_key": "c", "input": {"n": "x"}},
                good | {"idempotency_key": "d", "\ud800": 1},
                good | {"idempotency_key": "e\ud800"},
                good | {"idempotency_key": "f", "input": {"n": "\ud800"}},
                {"idempotency_key": "g"},
                7,
                good | {"idempotency_key": "a\nb / \u00e9"},
            ]
        },
    )

    assert status == 200
    receipts = told["receipts"]
    codes = [each.get("code", each["status"]) for each in receipts]
    assert codes == [
        202,
        202,
        "key_reused",
        "malformed",
        "malformed",
        "unknown_pipeline",
        "invalid_input",
        "malformed",
        "malformed",
        "malformed",
        "malformed",
        "malformed",
        202,
    ]
    assert receipts[0]["run_id"] == receipts[1]["run_id"]
    assert [each["replayed"] for each in receipts[:2]] == [False, True]
    assert receipts[2]["status"] == 422
    assert await stored() == 2


@pytest.mark.parametrize("body", [{}, {"requests": []}, {"requests": {}}, {"requests": [7] * 1001}])
async def test_a_bulk_is_a_list_of_1_to_1000(api, body):
    assert (await api("POST", "/v1/runs/bulk", body))[0] == 400


# While PostgreSQL is away


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path has 107 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix="sl-"))
    yield folder
    shutil.rmtree(folder)


async def test_while_postgres_is_away_a_client_is_told_to_come_again_and_the_key_is_good(
    database, session, short_folder
):
    key = await create_key("acme")
    async with proxied(database, short_folder) as (proxy, url), serving(url) as api_url:
        api = Api(api_url, key, session)
        assert (await api.submit("before"))[0] == 202

        await proxy.shut()
        status, told, headers = await api.submit("meanwhile")
        read = await api("GET", "/v1/requests/before")

        assert (status, told["code"], headers["Retry-After"]) == (503, "not_now", "1")
        assert (read[0], (await api("GET", "/readyz"))[0]) == (503, 503)
        assert (await api("GET", "/healthz"))[0] == 200, "a restart would mend nothing"
        await proxy.open()

        assert (await api.submit("meanwhile"))[0] == 202
        assert await stored() == 2


async def test_a_frozen_postgres_costs_a_client_seconds_and_not_minutes(
    database, session, short_folder, monkeypatch
):
    monkeypatch.setattr("producer.app.ANSWER_S", 1.0)
    key = await create_key("acme")
    async with proxied(database, short_folder) as (proxy, url), serving(url) as api_url:
        api = Api(api_url, key, session)
        assert (await api.submit("before"))[0] == 202

        proxy.freeze()
        started = time.monotonic()
        status, _, headers = await api.submit("meanwhile")

        assert (status, headers["Retry-After"]) == (503, "1")
        assert time.monotonic() - started < 4
        proxy.thaw()
        async with Client(api_url, key) as client:
            await client.submit("noop", {"n": 1}, key="meanwhile")
        assert await stored() == 2


# The client


async def test_the_client_tries_with_the_same_key_until_somebody_accepts(
    database, session, short_folder
):
    key = await create_key("acme")
    async with proxied(database, short_folder) as (proxy, url), serving(url) as api_url:
        async with Client(api_url, key, patience_s=20) as client:
            await proxy.shut()
            asked = asyncio.create_task(client.submit("noop", {"n": 1}, key="k"))
            await asyncio.sleep(1)
            await proxy.open()

            receipt = await asked

            assert (await client.request("k") or {})["run_id"] == receipt.run_id
        assert await stored() == 1


async def test_the_client_tells_what_was_refused_from_what_nobody_answered(api):
    async with Client(api.url, api.key) as client:
        with pytest.raises(Refused, match="invalid_input") as refused:
            await client.submit("noop", {"n": "x"}, key="k")
        assert (refused.value.status, refused.value.pointer) == (422, "/input/n")
        assert await client.request("nobody") is None
        receipts = await client.bulk([{"idempotency_key": "b", "pipeline": "noop", "input": {}}])
        assert (await client.get(receipts[0]["run_id"]))["status"] == "queued"
    async with Client(f"http://127.0.0.1:{free_port()}", api.key, patience_s=0.5) as client:
        with pytest.raises(Away):
            await client.submit("noop", {}, key="k")


async def test_the_limits_are_settings(opened, session, database):
    key = await create_key("acme")
    limits = ApiSettings(max_body_bytes=1024, wait_limit_s=1)
    async with serving(opened, api=limits) as url:
        api = Api(url, key, session)
        assert (await api.submit("k", {"n": "x" * 2000}))[0] == 413
        assert (await api("GET", f"/v1/runs/{uuid4()}?wait=2"))[0] == 400
