"""Four processes of five gateways; each gateway is a worker with a health of its own.

python -m tests.chaos.ward DATABASE_URL REDIS_URL POLICY TARGET_URL
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import structlog

from config.rulebook import Rulebook
from models.database import hot, open_database
from tests.pipelines import Number, Value
from tools.health import Health
from tools.http import Wire
from tools.tool import Call, Effect, tool
from worker.claim import Claims
from worker.flow import Flow
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.journal import Journal
from worker.pipeline import Catalogue, pipeline
from worker.runner import Runner

PROCESSES, GATEWAYS = 4, 5
LEASE_S = 4.0
_SEEN = """
    INSERT INTO worker (id, host, pid, runs) VALUES ($1, 'ward', $2, '[]')
    ON CONFLICT (id) DO UPDATE SET last_seen = now()
"""


@tool("sick.dead", effect=Effect.READ, timeout_s=1, retries=0)
async def dead(args: Value, call: Call) -> Value:
    await Wire(sys.argv[4]).send("GET", f"dead/{os.getpid()}", call=call, writes=False)
    return args


@tool("sick.moody", effect=Effect.READ, timeout_s=1, retries=0)
async def moody(args: Value, call: Call) -> Value:
    await Wire(sys.argv[4]).send("GET", f"moody/{os.getpid()}", call=call, writes=False)
    return args


@tool("sick.paced", effect=Effect.READ, timeout_s=1, retries=0)
async def paced(args: Value, call: Call) -> Value:
    await Wire(sys.argv[4]).send("GET", f"paced/{os.getpid()}", call=call, writes=False)
    return args


@pipeline("ask-the-dead", version=1, tools=[dead])
async def ask_the_dead(flow: Flow, given: Number) -> Number:
    await flow.call("ask", dead, n=given.n)
    return given


@pipeline("ask-the-moody", version=1, tools=[moody])
async def ask_the_moody(flow: Flow, given: Number) -> Number:
    await flow.call("ask", moody, n=given.n)
    return given


@pipeline("ask-the-paced", version=1, tools=[paced])
async def ask_the_paced(flow: Flow, given: Number) -> Number:
    await flow.call("ask", paced, n=given.n)
    return given


PIPELINES: Catalogue = {
    (each.name, each.version): each for each in (ask_the_dead, ask_the_moody, ask_the_paced)
}


async def gateway(redis_url: str, policy: Path) -> None:
    me, health = uuid4(), Health(uuid4())
    health.connect(redis_url)
    rulebook = Rulebook(policy)
    gatekeeper = Gatekeeper(rulebook, patience_s=5)
    journal = Journal(patience=timedelta(seconds=5))
    door = Gateway(journal, gatekeeper, rulebook, health, send_before_s=2)
    runner = Runner(PIPELINES, journal, door, bug_limit=3)
    claims = Claims(me, list(PIPELINES), LEASE_S)
    await hot().execute(_SEEN, me, os.getpid())
    await gatekeeper.look()
    looking = asyncio.create_task(health.run())
    while not looking.done():
        held = await claims.take(3, held={})
        await asyncio.gather(*(runner.run(each) for each in held))
        await hot().execute(_SEEN, me, os.getpid())
        await asyncio.sleep(0.2)


async def main(database_url: str, redis_url: str, policy: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    await open_database(database_url, connections=4)
    await asyncio.gather(*(gateway(redis_url, Path(policy)) for _ in range(GATEWAYS)))


if __name__ == "__main__":
    # Forked, for the imports are the most of what a process costs; a child forks no further.
    if all(os.fork() for _ in range(PROCESSES)):
        signal.pause()
    asyncio.run(main(*sys.argv[1:4]))
