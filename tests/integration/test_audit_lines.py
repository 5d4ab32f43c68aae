"""What the audit holds: one line for each flip, whoever flips, and none is changed ever again."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from config.policy_safe_mode import Triggers
from models import pulse, timeline
from models.audit import verify
from models.database import close_database, hot, open_database
from models.gate import GateMode, flip
from models.pulse import Beat
from models.tenant import create_key
from tests.conftest import RULES
from tests.integration.test_api import Api
from tests.service import serving
from tests.terminal import terminal
from worker.gatekeeper import Gatekeeper
from worker.journal import Journal
from worker.tripwire import Tripwire


async def told(after: int) -> list[tuple[str, ...]]:
    rows = await hot().fetch(
        "SELECT who, act, about->>'scope', about->>'mode', about->>'reason' FROM audit"
        " WHERE seq > $1 ORDER BY seq",
        after,
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'nobody'",
        "UPDATE audit SET who = who WHERE false",
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit SELECT * FROM audit ON CONFLICT (seq) DO UPDATE SET who = 'nobody'",
    ],
)
async def test_a_line_is_never_changed_nor_taken_out(database, statement):
    await flip("fleet", GateMode.CLOSED, who="ada", reason="stop")
    before = await hot().fetch("SELECT * FROM audit ORDER BY seq")

    with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
        await hot().execute(statement)

    assert await hot().fetch("SELECT * FROM audit ORDER BY seq") == before


async def test_every_flip_is_one_line_whoever_flips(database):
    after = await hot().fetchval("SELECT coalesce(max(seq), 0) FROM audit")
    async with terminal(database) as sluice, serving(database) as url:
        key = await create_key("ops", who="ada", operator=True)
        await sluice("gate", "close", "--reason", "at a terminal")
        await sluice("gate", "close", "--reason", "once more")
        await over_http(url, key)
    await trip()
    await replace_the_database(database)

    who = f"operator ops, with key {key.split('_')[1]}"
    assert await told(after) == [
        ("ada", "key", None, None, None),
        ("ada", "gate", "fleet", "closed", "at a terminal"),
        (who, "gate", "fleet", "open", "over HTTP"),
        ("sluice", "gate", "fleet", "read_only", "5 of 5 runs failed within 60 s"),
        ("ada", "gate", "fleet", "open", "mended"),
        ("sluice", "gate", "fleet", "read_only", "the database was replaced: failover or restore"),
    ]
    assert await verify() is not None


async def over_http(url: str, key: str) -> None:
    async with aiohttp.ClientSession() as session:
        asked = {"scope": "fleet", "mode": "open", "reason": "over HTTP"}
        assert (await Api(url, key, session)("PUT", "/v1/gate", asked))[0] == 200


async def trip() -> None:
    gatekeeper = Gatekeeper(RULES, patience_s=2)
    await gatekeeper.look()
    await pulse.tell(uuid4(), Beat(5, 5, Decimal(0)))
    await Tripwire(
        uuid4(), Triggers(failed_of=5), Journal(patience=timedelta(seconds=2)), gatekeeper
    ).round()
    await flip("fleet", GateMode.OPEN, who="ada", reason="mended")


async def replace_the_database(url: str) -> None:
    """As if all had come back on another server; every connection looks, one shuts the gate."""
    await hot().execute("DELETE FROM timeline; INSERT INTO timeline VALUES (true, 'another', 1)")
    for _ in range(2):
        await open_database(url, watch=timeline.watch)
        await close_database()
