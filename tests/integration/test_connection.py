"""Connections: whose target is where, with whose login, and a secret that nobody hears of."""

import asyncio
import base64
import json
import os
import time
from dataclasses import replace

import asyncpg
import orjson
import pytest
from structlog.testing import capture_logs

from models.audit import latest, verify
from models.connection import EVERYBODY, Target, connections, find, put
from models.database import hot
from models.run import StopReason
from tests.conftest import finished, reload, until
from tests.target import Target as Server
from tests.target import a_call, says, target
from tools import connection
from tools.tickets import ticket
from tools.tickets.form import NewTicket, TicketQuery
from tools.tool import Ambiguous, Rejected, Unavailable
from worker.use import in_time

SECRET = "h0rse-Battery/staple+42"
TOKEN = base64.b64encode(f"triage:{SECRET}".encode()).decode()
NOTHING_FOUND = says("200 OK", b'{"data": {"collection": []}}')
QUERY = TicketQuery(external_ref="web:1")


@pytest.fixture(autouse=True)
async def nothing_known(database, monkeypatch):
    for name in ("ACME_DESK", "UMBRELLA_DESK"):
        monkeypatch.setenv(name, f"{name}-password")
    monkeypatch.setenv("PLANTED", SECRET)
    await hot().execute("INSERT INTO tenant (name) VALUES ('acme'), ('umbrella')")
    connection.forget()
    yield
    await hot().execute("DELETE FROM connection")
    connection.forget()


def call_of(tenant: str):
    return replace(a_call(key=f"{tenant}:{time.monotonic()}"), tenant=tenant)


async def named(tenant: str, url: str, *, user: str = "", where: str = "", private: bool = True):
    await put(Target(tenant, "tickets", url, user, where, private), who="ada")
    connection.forget()


def logins(it: Server) -> list[str]:
    said = [head.partition("Authorization: ")[2].partition("\r\n")[0] for head in it.heads]
    return [
        base64.b64decode(each[6:]).decode() if each.startswith("Basic ") else each for each in said
    ]


async def test_two_tenants_tickets_go_to_two_desks_with_two_logins_and_the_others_to_a_third():
    async with target(NOTHING_FOUND) as a, target(NOTHING_FOUND) as b, target(NOTHING_FOUND) as c:
        await named("acme", a.url, user="anna", where="env:ACME_DESK")
        await named("umbrella", b.url, user="uwe", where="env:UMBRELLA_DESK")
        await named(EVERYBODY, c.url)

        for tenant in ("acme", "umbrella", "initech", "acme"):
            await ticket.read.run(QUERY, call_of(tenant))

    assert logins(a) == ["anna:ACME_DESK-password"] * 2
    assert logins(b) == ["uwe:UMBRELLA_DESK-password"]
    assert logins(c) == [""]
    assert f"Origin: {a.url}\r\n" in a.heads[0]
    assert f"Referer: {b.url}/\r\n" in b.heads[0]


async def test_one_target_that_two_tenants_share_is_told_each_ones_login_alone():
    async with target(NOTHING_FOUND) as it:
        await named("acme", it.url, user="anna", where="env:ACME_DESK")
        await named("umbrella", it.url, user="uwe", where="env:UMBRELLA_DESK")

        for tenant in ("acme", "umbrella") * 2:
            await ticket.read.run(QUERY, call_of(tenant))

    assert logins(it) == ["anna:ACME_DESK-password", "uwe:UMBRELLA_DESK-password"] * 2
    assert it.connections == 1


async def test_a_tenant_does_not_find_what_is_anothers():
    await named("acme", "https://acme.test")

    assert await connection.wire(call_of("umbrella"), "tickets") is None
    assert await find("umbrella", "tickets") is None
    assert await connection.wire(call_of("acme"), "other") is None
    assert (await connection.wire(call_of("acme"), "tickets")) is not None


async def test_a_worker_process_goes_where_the_rows_say_and_reads_what_its_policy_names(
    fleet, submit, tmp_path
):
    policy = tmp_path / "policy.yaml"
    async with target(says("200 OK", b'{"data": {"id": "7"}}', "Content-Type: text/plain")) as it:
        port = it.url.rpartition(":")[2]
        policy.write_text(
            f"egress: {{hosts: {{probe.fetch: ['127.0.0.1:{port}']}}, private: [127.0.0.0/8]}}\n"
            "tenants: {umbrella: {egress: {hosts: {probe.fetch: []}}}}\n"
        )
        await named("acme", it.url, user="anna", where="env:ACME_DESK")
        fleet.workers(1, POLICY=str(policy))

        ticketed = await submit("one-ticket", {"n": 1})
        read = await submit("fetch", {"url": f"{it.url}/page"})
        denied = await submit("fetch", {"url": f"{it.url}/page"}, tenant="umbrella")
        await until(lambda: finished(3))

    reasons = [(await reload(each))["stop_reason"] for each in (ticketed, read, denied)]
    assert reasons == ["success", "success", "tool_denied"]
    assert sorted(zip(it.lines, logins(it), strict=True)) == [
        ("GET /page", ""), ("POST /rest/data/issue", "anna:ACME_DESK-password"),
    ]  # fmt: skip


async def test_without_a_connection_the_tickets_go_where_the_settings_say():
    found = await ticket.read.run(QUERY, call_of("acme"))

    assert found.ticket is None  # asked of the local desk


async def test_a_change_is_known_after_five_seconds_and_nobody_asks_before(monkeypatch):
    async with target(NOTHING_FOUND) as first, target(NOTHING_FOUND) as second:
        await named("acme", first.url)
        await ticket.read.run(QUERY, call_of("acme"))
        await put(Target("acme", "tickets", second.url, private=True), who="ada")
        await ticket.read.run(QUERY, call_of("acme"))
        now = time.monotonic()
        with monkeypatch.context() as later:
            later.setattr(connection, "monotonic", lambda: now + connection.KEPT_S + 0.1)
            call = replace(call_of("acme"), deadline=now + 60, send_before=now + 60)
            await ticket.read.run(QUERY, call)

    assert (len(first.heads), len(second.heads)) == (2, 1)


async def test_a_write_whose_target_nobody_could_name_in_time_has_not_left(monkeypatch):
    async def hangs(*_):
        await asyncio.sleep(60)

    monkeypatch.setattr(connection.connection, "find", hangs)
    begun = time.monotonic()

    with pytest.raises(Unavailable, match="the database did not say"):
        await in_time(
            ticket.create, NewTicket(external_ref="one:1", title="a"),
            a_call(lasts_s=1, leaves_within_s=0.2), 1,
        )  # fmt: skip

    assert time.monotonic() - begun < 0.9


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("env:NOT_THERE", "is not set in this worker's environment"),
        ("env:EMPTY", "is not set in this worker's environment, or is empty"),
        ("env:TWO_LINES", "holds what no login may"),
        ("file:/nowhere/at/all", "is no file that this worker can read"),
        ("file:/dev/zero", "is no file that this worker can read"),
        ("file:{folder}/binary", "is no file that this worker can read"),
        ("file:{folder}/large", "is no file that this worker can read"),
        ("file:{folder}", "is no file that this worker can read"),
    ],
)
async def test_a_secret_that_is_not_there_fails_the_call_by_the_name_of_its_reference(
    monkeypatch, tmp_path, reference, why
):
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("TWO_LINES", f"{SECRET}\nX-Evil: 1")
    (tmp_path / "binary").write_bytes(b"\xff" + SECRET.encode())
    (tmp_path / "large").write_text(SECRET * 10_000)
    reference = reference.format(folder=tmp_path)
    async with target(NOTHING_FOUND) as it:
        await named("acme", it.url, user="anna", where=reference)
        with pytest.raises(Rejected) as refused:
            await ticket.read.run(QUERY, call_of("acme"))

    assert refused.value.reason is StopReason.TOOL_AUTH_FAILED
    assert f"The connection tickets of acme cannot be used: the secret {reference}" in str(
        refused.value
    )
    assert why in str(refused.value)
    assert SECRET[:6] not in str(refused.value)
    assert it.heads == []


async def test_a_secret_is_read_from_a_file_and_without_a_user_it_is_a_bearers(tmp_path):
    (tmp_path / "token").write_text(f"{SECRET}\n")
    async with target(NOTHING_FOUND) as it:
        await named("acme", it.url, where=f"file:{tmp_path}/token")
        await ticket.read.run(QUERY, call_of("acme"))

    assert logins(it) == [f"Bearer {SECRET}"]


async def test_a_target_that_may_not_be_private_is_not_reached_where_it_is():
    async with target(NOTHING_FOUND) as it:
        url = it.url.replace("127.0.0.1", "localhost")
        await named("acme", url, user="anna", where="env:ACME_DESK", private=False)
        with pytest.raises(Rejected, match="neither its connection") as refused:
            await ticket.read.run(QUERY, call_of("acme"))

    assert refused.value.reason is StopReason.TOOL_DENIED
    assert it.connections == 0


@pytest.mark.parametrize(
    ("target_", "why"),
    [
        (Target("acme", "tickets", "https://a.test", "u", SECRET), "not the secret itself"),
        (Target("acme", "tickets", "https://a.test", "u", f"env:{SECRET}"), "not the secret"),
        (Target("acme", "tickets", "https://a.test", "u", "file:relative"), "not the secret"),
        (Target("acme", "tickets", "https://a.test", "u"), "needs a secret"),
        (Target("acme", "tickets", "https://a.test", "u:v", "env:X"), "without a colon"),
        (Target("acme", "tickets", f"https://u:{SECRET}@a.test"), "must be http"),
        (Target("acme", "tickets", f"https://a.test/?k={SECRET}"), "must be http"),
        (Target("acme", "tickets", "ftp://a.test"), "must be http"),
        (Target("acme", "tickets", "https://a.test:99999"), "must be http"),
        (Target("acme", "tickets", "https://a.test/\r\nX: 1"), "must be http"),
        (Target("acme", "tickets", "http://10.0.0.1/"), "say --private"),
        (Target("acme", "Tickets!", "https://a.test"), "cannot name a connection"),
        (Target("nobody", "tickets", "https://a.test"), "no tenant is named 'nobody'"),
    ],
)  # fmt: skip
async def test_what_cannot_be_used_is_refused_and_a_would_be_secret_is_not_repeated(target_, why):
    with pytest.raises(ValueError, match=why) as refused:
        await put(target_, who="ada")

    assert SECRET[:6] not in str(refused.value)
    assert await connections() == []


async def test_the_database_takes_no_secret_in_place_of_a_reference():
    with pytest.raises(asyncpg.CheckViolationError):
        await hot().execute(
            "INSERT INTO connection (tenant, name, base_url, secret, who)"
            " VALUES ('acme', 'tickets', 'https://a.test', $1, 'eve')", SECRET,
        )  # fmt: skip


async def echoes_in_words(it: Server, writer) -> None:
    parts = " ".join(TOKEN[n : n + 9] for n in range(0, len(TOKEN), 9))
    spaced = "\x00".join(SECRET)
    body = f"{SECRET} {spaced}\r\n{parts} {TOKEN[4:]} {it.heads[-1]}".encode()
    await says(f"403 {SECRET}", body, f"X-Echo: {TOKEN}")(it, writer)


async def echoes_a_conflict(it: Server, writer) -> None:
    body = orjson.dumps({"error": {"msg": f"you are {TOKEN[:20]} {TOKEN[20:]} {SECRET[:12]}"}})
    await says("409 Conflict", body)(it, writer)


async def echoes_a_broken_head(it: Server, writer) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nAuthorization: Basic {TOKEN}\r\n{SECRET}\r\n\r\n".encode())
    writer.close()


async def echoes_in_the_answer(it: Server, writer) -> None:
    escaped = "".join(f"\\u{ord(each):04x}" for each in SECRET)
    issue = f'{{"id": "7", "external_ref": "one:1", "title": "{TOKEN} {SECRET}",'
    body = f'{{"data": {{"id": "7", "collection": [{issue} "category": "{escaped}"}}]}}}}'
    await says("200 OK", body.encode())(it, writer)


async def everything_kept() -> str:
    """Every row of every table, as text."""
    tables = await hot().fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return "\n".join([
        str(await hot().fetchval(f"SELECT json_agg(t)::text FROM {each['tablename']} AS t"))  # noqa: S608
        for each in tables
    ])  # fmt: skip


def hidden(text: str) -> bool:
    """No six letters or digits of it in a row, however they are broken up."""
    letters = "".join(each for each in text.lower() if each.isalnum())
    for secret in (SECRET, TOKEN):
        plain = "".join(each for each in secret.lower() if each.isalnum())
        if any(plain[n : n + 6] in letters for n in range(len(plain) - 5)):
            return False
    return True


@pytest.mark.parametrize(
    "answer", [echoes_in_words, echoes_a_conflict, echoes_a_broken_head, echoes_in_the_answer]
)
async def test_what_a_hostile_target_repeats_of_our_login_is_nowhere_to_be_read(
    submit, attempt, answer, capfd
):
    async with target(answer) as it:
        await named("acme", it.url, user="triage", where="env:PLANTED")
        run = await submit("one-ticket", {"n": 1})
        with capture_logs() as logs:
            await attempt(run)

    assert logins(it)[0] == f"triage:{SECRET}"
    assert (await reload(run))["status"] != "running"
    assert hidden(await everything_kept())
    assert hidden(repr(logs))
    assert hidden("".join(capfd.readouterr()))


@pytest.mark.parametrize(
    "answer", [echoes_in_words, echoes_a_conflict, echoes_a_broken_head, echoes_in_the_answer]
)
async def test_no_error_or_result_of_a_tool_holds_what_a_target_repeats_of_our_login(answer):
    async with target(answer) as it:
        await named("acme", it.url, user="triage", where="env:PLANTED")
        said = []
        for ask, args in ((ticket.create, NewTicket(external_ref="one:1", title="a")),
                          (ticket.read, TicketQuery(external_ref="one:1"))):  # fmt: skip
            try:
                said.append(repr(await ask.run(args, call_of("acme"))))
            except (Rejected, Unavailable, Ambiguous) as error:
                told = error
                while told is not None:
                    said.append(repr(told))
                    seen = None if told.__suppress_context__ else told.__context__
                    told = told.__cause__ or seen

    assert len(said) >= 2
    assert hidden("\n".join(said))


async def test_neither_do_the_headers_of_an_answer():
    async with target(says("200 OK", b"{}", f"X-Echo: Basic {TOKEN}", "X-Other: kept")) as it:
        await named("acme", it.url, user="triage", where="env:PLANTED")
        wire = await connection.wire(call_of("acme"), "tickets")
        reply = await wire.send("GET", "x", call=call_of("acme"), writes=False)

    assert hidden(str(reply.headers))
    assert reply.headers["x-other"] == "kept"


async def test_connections_are_set_listed_and_removed_and_each_is_in_the_audit(sluice):
    before = (await latest(1) or [None])[0]
    reference = ("--user", "anna", "--secret", "env:ACME_DESK")

    made = await sluice("connections", "set", "tickets", "--url", "http://127.0.0.1:8917/s",
                        "--tenant", "acme", *reference, "--private")  # fmt: skip
    for_all = await sluice("connections", "set", "tickets", "--url", "https://desk.test")
    listed = await sluice("connections")
    gone = await sluice("connections", "remove", "tickets", "--tenant", "acme")
    again = await sluice("connections", "remove", "tickets", "--tenant", "acme")

    assert (made.code, for_all.code, gone.code, again.code) == (0, 0, 0, 2)
    rows = [line.split() for line in listed.out.splitlines()]
    assert rows[1][:4] == ["*", "tickets", "https://desk.test", "ada"]
    assert rows[2][:7] == [
        "acme", "tickets", "http://127.0.0.1:8917/s", "anna", "env:ACME_DESK", "may", "be",
    ]  # fmt: skip
    assert os.environ["ACME_DESK"] not in listed.out
    assert [each["tenant"] for each in await connections()] == [EVERYBODY]
    lines = [each for each in await latest(9) if before is None or each.seq > before.seq]
    told = [json.loads(each.about) for each in reversed(lines)]
    assert [(each["done"], each["tenant"]) for each in told] == [
        ("set", "acme"), ("set", "*"), ("removed", "acme"),
    ]  # fmt: skip
    assert {each.act for each in lines} == {"connection"}
    assert {each.who for each in lines} == {"ada"}
    assert told[0]["secret"] == "env:ACME_DESK"
    await verify()


async def test_a_secret_that_is_typed_in_place_of_its_reference_is_not_repeated(sluice):
    wrong = await sluice("connections", "set", "tickets", "--url", "https://a.test", "--user", "a",
                         "--secret", SECRET)  # fmt: skip

    assert wrong.code == 2
    assert "not the secret itself" in wrong.err
    assert hidden(wrong.out + wrong.err)
    assert hidden(await everything_kept())
