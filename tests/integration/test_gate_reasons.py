"""A flip's reason: needed, kept, and shown to whoever looks, whatever somebody wrote into it."""

import os
import re

import pytest

from models.database import hot
from models.gate import GateMode, flip

OBEYED = re.compile(r"[^\x20-\x7e\n\N{REPLACEMENT CHARACTER}]")
"""What a terminal might obey, or what nobody expects on it."""


async def stands(scope: str = "fleet") -> str | None:
    return await hot().fetchval("SELECT mode FROM gate WHERE scope = $1", scope)


@pytest.mark.parametrize("reason", ["", " \n\t", "a\x00b"])
async def test_a_flip_needs_a_reason_that_somebody_can_read(database, reason):
    with pytest.raises(ValueError, match="needs a reason"):
        await flip("fleet", GateMode.CLOSED, who="bob", reason=reason)

    assert await stands() == "open"


async def test_a_reason_attacks_no_terminal_however_long_it_is(sluice):
    await flip("pipeline:pay", GateMode.CLOSED, who="bob", reason="x" * 10_000)
    await flip(
        "pipeline:noop", GateMode.CLOSED, who="bob", reason="\x1b[2J\x1b]0;own\x07\u202e\x9b"
    )

    gate, audit = await sluice("gate"), await sluice("audit", "--limit", "1")

    for code, said, _ in (gate, audit):
        assert code == 0
        assert "\N{REPLACEMENT CHARACTER}[2J" in said
        assert not OBEYED.search(said)
    assert 10_000 <= gate.out.count("x") < 10_100


@pytest.mark.parametrize("command", ["gate", "audit --limit 1", "safe-mode off --reason well"])
async def test_a_reason_with_brackets_is_shown_as_it_was_written(sluice, command):
    await flip("pipeline:noop", GateMode.CLOSED, who="bob", reason="see [inc-7]: [/dev/sda1] full")

    code, said, erred = await sluice(*command.split())

    assert (code, "see [inc-7]: [/dev/sda1] full" in said) == (0, True), erred[-200:]


async def test_a_reason_that_is_no_text_is_refused_in_a_sentence(sluice):
    code, _, erred = await sluice("gate", "close", "--reason", os.fsdecode(b"caf\xe9"))

    assert (code, await stands()) == (2, "open"), erred


async def test_a_command_says_what_it_did_and_shows_no_log_lines(sluice):
    _, said, _ = await sluice("gate", "close", "--reason", "\x1b[2J")

    assert said.startswith("fleet is closed\n")
    assert not OBEYED.search(said)
