"""`sluice breakers`, as an operator meets it."""

import re

import orjson

from models.audit import latest
from models.breaker import BreakerState, Change, note, see


async def test_a_breaker_is_held_open_shown_and_given_back_and_each_is_in_the_audit(sluice):
    await note(Change("probe.read", BreakerState.OPEN, 7, 1, 4000.0, "6 of 8 calls failed"))
    before = (await latest(1))[0].seq

    shown = await sluice("breakers")
    held = await sluice("breakers", "open", "probe.write", "--reason", "they asked us to")
    both = await sluice("breakers")
    await sluice("breakers", "auto", "probe.write", "--reason", "they are done")

    assert "6 of 8 calls failed" in shown.out
    assert re.search(r" (4000|39\d\d) s ", shown.out)
    assert held.code == 0
    assert "held open" in both.out
    assert "they asked us to" in both.out
    assert {each.tool: each.forced for each in (await see())[0]} == {
        "probe.read": None,
        "probe.write": None,
    }
    lines = [line for line in await latest(9) if line.seq > before]
    assert [line.who for line in lines] == ["ada", "ada"]
    assert orjson.loads(lines[1].about)["forced"] == "open"


async def test_a_slip_of_the_pen_holds_nothing(sluice):
    wrong = await sluice("breakers", "close", "probe.raed", "--reason", "let it burn")

    assert wrong.code == 2
    assert "probe.read" in wrong.err
    assert (await see())[0] == []
