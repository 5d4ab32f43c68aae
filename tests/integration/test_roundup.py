"""A real Roundup as the desk: whatever asks again, a reference has one ticket."""

import asyncio
import tempfile
from pathlib import Path
from time import monotonic
from uuid import uuid4

import orjson
import pytest
from pydantic import HttpUrl, SecretStr, ValidationError

from config.settings import DeskSettings, settings
from models.run import StopReason
from tests.roundup import PASSWORD, USER, roundup_server
from tests.target import Target, says, target
from tools import http
from tools.tickets import ticket
from tools.tickets.form import NewTicket, Priority, TicketQuery, TicketRef
from tools.tickets.roundup import TITLE_CHARACTERS, Roundup
from tools.tool import Ambiguous, Call, Lookup, Rejected, Sighting, ToolError, Unavailable


@pytest.fixture(scope="module")
def open_folder():
    """Open to `nobody`, as whom Roundup runs when the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def lab(open_folder):
    with roundup_server(open_folder / "lab") as it:
        yield it


@pytest.fixture(autouse=True)
async def _hangs_up():
    yield
    await http.close()


def desk_at(url: str, password: str = PASSWORD) -> Roundup:
    return Roundup(DeskSettings(url=HttpUrl(url), user=USER, password=SecretStr(password)))


@pytest.fixture
def desk(lab) -> Roundup:
    return desk_at(lab.url)


def a_call(lasts_s: float = 10) -> Call:
    run = uuid4()
    return Call(run, "acme", "apply", f"{run}:apply", monotonic() + lasts_s, monotonic() + 2)


def a_ticket(ref: str | None = None, **fields) -> NewTicket:
    return NewTicket(external_ref=ref or f"bank:{uuid4()}", title="Card not arrived", **fields)


async def test_a_new_ticket_is_on_the_desk_as_it_was_filled_in(lab, desk):
    args = a_ticket(
        category="card_arrival",
        queue="cards",
        priority=Priority.URGENT,
        body="I am still\nwaiting",
    )

    ref = await desk.create(args, a_call())
    found = await desk.read(args.external_ref, a_call())

    assert ref == TicketRef(
        id=ref.id, url=f"{lab.url}/issue{ref.id}", external_ref=args.external_ref, created=True
    )
    assert found is not None
    assert (found.id, found.url) == (ref.id, ref.url)
    assert found.title == "[cards] Card not arrived: I am still waiting"
    assert (found.category, found.priority) == ("card_arrival", Priority.URGENT)


@pytest.mark.parametrize("priority", list(Priority))
async def test_every_priority_is_one_that_a_classic_tracker_has(desk, priority):
    args = a_ticket(priority=priority)

    await desk.create(args, a_call())

    found = await desk.read(args.external_ref, a_call())
    assert found is not None
    assert found.priority is priority


async def test_another_run_gets_the_ticket_that_is_there(lab, desk):
    args = a_ticket()

    first = await desk.create(args, a_call())
    second = await desk.create(args.model_copy(update={"title": "Other words"}), a_call())

    assert second == first.model_copy(update={"created": False})
    assert lab.issues().count(args.external_ref) == 1


async def test_opening_a_ticket_is_one_write_request(lab, desk):
    before = len(lab.requests())

    await desk.create(a_ticket(body="a long story"), a_call())

    assert lab.requests()[before:] == ["POST /support/rest/data/issue"]


async def test_twenty_writers_racing_for_one_reference_open_one_ticket(lab, desk):
    args = a_ticket()

    outcomes = await asyncio.gather(
        *(desk.create(args, a_call()) for _ in range(20)), return_exceptions=True
    )

    refs = [o for o in outcomes if isinstance(o, TicketRef)]
    assert lab.issues().count(args.external_ref) == 1
    assert len({ref.id for ref in refs}) == 1
    assert sum(ref.created for ref in refs) <= 1
    assert not [o for o in outcomes if not isinstance(o, TicketRef | Ambiguous | Unavailable)]


@pytest.mark.parametrize(
    "ref",
    [
        "web:a/b?c&d=e#f",
        "web:a+b%20c",
        "web:tür",
        'web:"quoted"',
        "web:back\\slash",
        "web:a,b:c",
        "web:%",
        "-1",
        "42",
    ],
)
async def test_a_reference_may_hold_any_printable_characters(lab, desk, ref):
    first = await desk.create(a_ticket(ref), a_call())
    second = await desk.create(a_ticket(ref), a_call())

    assert (first.created, second.created, second.id) == (True, False, first.id)
    assert lab.issues().count(ref) == 1
    assert (await desk.lookup(a_ticket(ref), a_call())).result == second


async def test_a_look_up_finds_the_very_reference_and_no_other_that_looks_like_it(desk):
    for ref in ("desk:10", "desk:1x", "DESK:1", "web-desk:1"):
        await desk.create(a_ticket(ref), a_call())

    before = await desk.lookup(a_ticket("desk:1"), a_call())
    opened = await desk.create(a_ticket("desk:1"), a_call())
    after = await desk.lookup(a_ticket("desk:1"), a_call())

    assert before == Sighting(Lookup.ABSENT)
    assert after == Sighting(Lookup.FOUND, opened.model_copy(update={"created": False}))


async def test_a_look_up_does_not_ask_for_half_the_desk(lab, desk):
    await desk.lookup(a_ticket("desk:1"), a_call())

    asked = lab.requests()[-1]
    assert "external_ref:=desk" in asked  # without the colon, "desk:1" lists "desk:10" and so on


async def test_a_look_up_does_not_trust_the_targets_filter():
    listed = {"data": {"collection": [{"id": "7", "external_ref": "desk:10"}]}}
    async with target(says("200 OK", orjson.dumps(listed))) as it:
        seen = await desk_at(it.url).lookup(a_ticket("desk:1"), a_call())

    assert seen == Sighting(Lookup.ABSENT)


async def test_a_write_whose_answer_was_not_waited_for_is_found_by_a_look_up(lab, desk):
    args = a_ticket()
    await desk.lookup(args, a_call())  # a kept connection, so that some milliseconds are enough

    caught = await cut_short(desk, args)

    async with asyncio.timeout(5):
        while (
            seen := await desk.lookup(args, a_call())
        ).seen is Lookup.ABSENT:  # the target tells nobody when it is done
            await asyncio.sleep(0.02)
    assert caught.reason is StopReason.TOOL_TIMEOUT
    assert seen.seen is Lookup.FOUND
    assert lab.issues().count(args.external_ref) == 1


async def cut_short(desk, args):
    """A write that had left when its time was up, however slow this machine is today."""
    lasts_s = 0.004
    while True:
        try:
            await desk.create(args, a_call(lasts_s=lasts_s))
        except Ambiguous as error:
            return error
        except Unavailable:  # it had not left yet, and did nothing
            lasts_s *= 1.5
        else:
            raise AssertionError(f"it was answered within {lasts_s} s")


async def test_a_desk_that_is_away_knows_nothing_and_has_done_nothing(lab, desk):
    args = a_ticket()
    lab.stop()

    with pytest.raises(Unavailable):
        await desk.create(args, a_call())
    seen = await desk.lookup(args, a_call())
    lab.start()

    assert seen == Sighting(Lookup.UNKNOWN)
    assert (await desk.create(args, a_call())).created


async def test_a_wrong_password_is_refused_and_not_repeated_to_anybody(lab):
    stranger = desk_at(lab.url, "wr0ng-password")

    with pytest.raises(Rejected) as caught:
        await stranger.create(a_ticket(), a_call())

    assert caught.value.reason is StopReason.TOOL_AUTH_FAILED
    assert "wr0ng-password" not in str(caught.value)
    assert (await stranger.lookup(a_ticket(), a_call())).seen is Lookup.UNKNOWN


async def test_a_desk_that_has_had_enough_says_when_to_come_back(open_folder):
    with roundup_server(open_folder / "limited", calls=2, interval_s=60) as limited:
        desk = desk_at(limited.url)
        for _ in range(2):
            await desk.create(a_ticket(), a_call())

        with pytest.raises(Unavailable) as caught:
            await desk.create(a_ticket(), a_call())

        assert len(limited.issues()) == 2
    assert caught.value.reason is StopReason.TOOL_RATE_LIMIT
    assert caught.value.retry_after_s is not None
    assert 20 <= caught.value.retry_after_s <= 30


def _conflict(sentence: str) -> bytes:
    return orjson.dumps({"error": {"status": 409, "msg": sentence}})


async def test_a_conflict_that_is_no_duplicate_is_a_refusal():
    sentence = '"nosy" multilink value ([None]) must contain Strings'
    async with target(says("409 Conflict", _conflict(sentence))) as it:
        with pytest.raises(Rejected, match="multilink value"):
            await desk_at(it.url).create(a_ticket(), a_call())

    assert len(it.heads) == 1


async def test_a_ticket_that_our_user_may_not_see_is_a_refusal():
    async def hides(it: Target, writer: asyncio.StreamWriter) -> None:
        exists = says("409 Conflict", _conflict('node with key "desk:1" exists'))
        nothing = says("200 OK", b'{"data": {"collection": []}}')
        await (exists if it.lines[-1].startswith("POST") else nothing)(it, writer)

    async with target(hides) as it:
        with pytest.raises(Rejected, match="let that user view all issues"):
            await desk_at(it.url).create(a_ticket("desk:1"), a_call())


@pytest.mark.parametrize("body", [b"{}", b"[]", b"", b'{"data": {"id": "../../admin"}}'])
async def test_a_ticket_opened_without_a_usable_number_is_in_doubt(body):
    async with target(says("201 Created", body)) as it:
        with pytest.raises(Ambiguous) as caught:
            await desk_at(it.url).create(a_ticket(), a_call())

    assert caught.value.reason is StopReason.TOOL_OUTPUT_INVALID


@pytest.mark.parametrize("body", [b"{}", b"[]", b"", b'{"data": {"collection": [{}]}}'])
async def test_a_search_that_is_answered_with_something_else_shows_nothing(body):
    async with target(says("200 OK", body)) as it:
        seen = await desk_at(it.url).lookup(a_ticket(), a_call())
        with pytest.raises(ToolError):
            await desk_at(it.url).read("desk:1", a_call())

    assert seen == Sighting(Lookup.UNKNOWN)


@pytest.mark.parametrize("title", ["", "  ", "\r\n\t", "\u200b\u202e", None])
def test_a_ticket_without_a_title_is_not_asked_for(title):
    with pytest.raises(ValidationError):
        NewTicket.model_validate({"external_ref": "desk:1", "title": title})


@pytest.mark.parametrize("ref", ["", " ", "a b", " a", "a\n", "a\x00", "\ud800", "a" * 201])
def test_a_reference_that_a_desk_would_trim_or_fold_is_refused(ref):
    with pytest.raises(ValidationError):
        TicketQuery(external_ref=ref)


async def test_a_title_is_one_line_whatever_a_customer_has_typed(desk):
    args = NewTicket(
        external_ref=f"web:{uuid4()}",
        title="Card\r\nX-Evil: 1\x00\x1b[31m\u202e lost",
        body="word\n" * 2000,
    )

    await desk.create(args, a_call())

    found = await desk.read(args.external_ref, a_call())
    assert args.title == "Card X-Evil: 1 [31m lost"
    assert found is not None
    assert found.title.startswith("Card X-Evil: 1 [31m lost: word word")
    assert found.title.isprintable()
    assert len(found.title) == TITLE_CHARACTERS


async def test_the_ticket_tools_speak_to_the_desk_of_the_settings(lab, monkeypatch):
    monkeypatch.setenv("SLUICE_DESK__URL", lab.url)
    monkeypatch.setenv("SLUICE_DESK__PASSWORD", PASSWORD)
    settings.cache_clear()
    args = a_ticket()
    try:
        nothing = await ticket.read.run(TicketQuery(external_ref=args.external_ref), a_call())
        ref = await ticket.create.run(args, a_call())
        found = await ticket.read.run(TicketQuery(external_ref=args.external_ref), a_call())
        assert ticket.create.lookup is not None
        seen = await ticket.create.lookup(args, a_call())
    finally:
        settings.cache_clear()

    assert nothing.ticket is None
    assert ref.created
    assert found.ticket is not None
    assert found.ticket.id == ref.id
    assert seen.seen is Lookup.FOUND
