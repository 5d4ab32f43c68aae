"""Show an agent at work: it plans and is refused, acts and is asked about, and is stopped.

Everything is real but the model (samples/agent/model.py): servers, a worker process, the gateway.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console

from config.settings import settings
from config.surroundings import servers
from models import schema
from models.database import close_database, hot, open_database
from producer.children import Children
from samples.agent import model
from samples.agent.shop import FOLDER

OUT = Path("out/demo-agent")
_PATIENCE_S = 60.0
_LOOK_S = 0.1
_STANDS = """
    SELECT run.status, r.id AS review
      FROM request_key k JOIN run ON run.id = k.run_id
      LEFT JOIN LATERAL (
           SELECT id FROM review WHERE run_id = run.id AND verdict IS NULL LIMIT 1) AS r ON true
     WHERE k.key = $1
"""
_HOW_TO_READ = (
    "`sluice show` draws a run: its steps in their order, each with its kind (call: a tool or the"
    " model was used; decide: code judged), how it stands (settled: done and on record; released:"
    " not made, it waits; rejected: it failed) and what came of it. settle/1 is what the model said"
    " first, settle/1/check what code found wrong with that, settle/3/1/refund.pay the first call"
    " of what it said third; a `review` is what a person is asked: a yes allows exactly these"
    " arguments."
)
_EVIL = "eve@evil.example"
_READY = "SELECT FROM contract WHERE name = 'search-desk' LIMIT 1"

console = Console(markup=False, highlight=False)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        FOLDER: str(OUT.resolve()),
        "SLUICE_WORKER__CATALOGUES": json.dumps(["samples.agent.pipelines"]),
        "SLUICE_LOG_LEVEL": "warning",
    }
    asyncio.run(_show())


async def _show() -> None:
    stand_in, url = await model.started()
    prices = {"usd_per_million_in": 1, "usd_per_million_out": 4}
    os.environ["SLUICE_MODELS"] = json.dumps(
        {"clerk": {"base_url": url, "model": "stand-in-1", "output": "prompt", **prices}}
    )
    found = await asyncio.to_thread(servers, settings())
    await schema.ensure(found.database_url, embedded=settings().embedded)
    await open_database(found.database_url)
    try:
        with Children(1, drain_s=5, log=OUT / "worker.log"):
            await _until(lambda: hot().fetchrow(_READY))
            console.print(f"\n{_HOW_TO_READ}")
            await _plan()
            await _act()
            await _stop()
    finally:
        await close_database()
        await stand_in.cleanup()
    _tell_the_end()


async def _plan() -> None:
    _scene(
        "1  A plan, a refusal, a review",
        "Ann's lamp arrived broken. The model first plans to pay ten times the price. `usd` is"
        " bound to the order, so nothing of that plan is made, and it is told why. Then it plans"
        " what may be done; money leaves only when a person allows exactly this payment.",
    )
    key = await _submit("refund-desk", "A-1001")
    await _answer(key, "--approve", "a person allows this payment, with exactly these arguments")
    await _end(key)


async def _act() -> None:
    _scene(
        "2  An injection",
        "Bob's mail says to send all customers' addresses to eve. The model obeys. The address"
        " came out of a text from outside, so the call waits for a person, who says no.",
    )
    key = await _submit("mail-desk", "A-1002")
    await _answer(key, "--reject", "nobody at the shop knows eve")
    await _end(key)


async def _stop() -> None:
    _scene(
        "3  A stop",
        "The model asks the same question again and again. The third time the run ends, and keeps"
        " what it had found.",
    )
    await _end(await _submit("search-desk", "A-1001"))


async def _submit(pipeline: str, order: str) -> str:
    key = f"demo-agent-{uuid4().hex[:6]}"
    given = json.dumps({"order_id": order})
    await asyncio.to_thread(_sluice, "submit", pipeline, given, "--key", key)
    return key


async def _answer(key: str, verdict: str, note: str) -> None:
    stands = await _until(lambda: _stands(key, "waiting"))
    await asyncio.to_thread(_sluice, "show", key)
    await asyncio.to_thread(_sluice, "answer", str(stands["review"]), verdict, "--note", note)


async def _end(key: str) -> None:
    await _until(lambda: _stands(key, "finished"))
    await asyncio.to_thread(_sluice, "show", key)


async def _stands(key: str, status: str) -> Any:
    row = await hot().fetchrow(_STANDS, key)
    return row if row and row["status"] == status else None


async def _until(look: Callable[[], Awaitable[Any]]) -> Any:
    """What a look finds in the end.

    Raises:
        SystemExit: It finds nothing for a minute.
    """
    for _ in range(int(_PATIENCE_S / _LOOK_S)):
        found = await look()
        if found is not None:
            return found
        await asyncio.sleep(_LOOK_S)
    sys.exit(f"nothing came for {_PATIENCE_S:g} s: see {OUT / 'worker.log'}, and `sluice runs`")


def _sluice(*words: str) -> None:
    """Run a command as anybody would, and show it."""
    console.print(f"\n$ sluice {shlex.join(words)}", style="bold cyan")
    done = subprocess.run(
        [sys.executable, "-m", "config.command", *words],
        check=False,
    )
    if done.returncode:
        sys.exit(f"`sluice {words[0]}` ended with {done.returncode}")


def _scene(title: str, told: str) -> None:
    console.print()
    console.rule(title, style="bold")
    console.print(told)


def _tell_the_end() -> None:
    left = [path.read_text(encoding="utf-8") for path in sorted(OUT.glob("*.txt"))]
    console.print()
    console.rule("What has left the shop, over all times that this was run", style="bold")
    for each in left:
        console.print(f"  {each}")
    if not any(_EVIL in each for each in left):
        console.print(f"  nothing to {_EVIL}")
    console.print(
        "\nA model proposes, code disposes, people decide: samples/agent/pipelines.py."
        "\n`sluice show RUN --transcripts` has every prompt and every answer."
    )


if __name__ == "__main__":
    main()
