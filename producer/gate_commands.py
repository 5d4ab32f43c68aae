"""`sluice gate` and `sluice safe-mode`: the fleet's switch, as it stands, and flipping it."""

import time
from collections.abc import Awaitable
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from models.gate import Flip, GateBusy, GateMode, flip, gates
from models.scope import FLEET, POLICY
from models.standstill import Overruled, Standstill, drained, standstill, stopped
from producer.connection import database, operator, run
from producer.tables import ago, console, legible, plain

T = TypeVar("T")
EXIT_INCOMPLETE = 3
_LISTED = 50


class Wait(StrEnum):
    """Which answer to wait for."""

    STOPPED = "stopped"  # no write starts any more
    DRAINED = "drained"  # and none is under way


Reason = Annotated[str, typer.Option(help="Why; kept in the audit and shown to whoever looks.")]
Scope = Annotated[str, typer.Option(help="fleet, tenant:NAME, pipeline:NAME or tool:NAME.")]
Answer = Annotated[
    Wait,
    typer.Option(
        "--wait",
        help="stopped: no write starts any more (2.1 s at most). drained: none is under way.",
    ),
]

gate = typer.Typer(help="The fleet's switch: what may start, for whom, since when and why.")
safe_mode = typer.Typer(
    help="Safe mode: no writes, only allowed reads; what has to wait waits unharmed.",
    no_args_is_help=True,
)


@gate.callback(invoke_without_command=True)
def _gate(context: typer.Context) -> None:
    """The fleet's switch: what may start, for whom, since when and why."""
    if context.invoked_subcommand is None:
        show()


@gate.command("show")
def show() -> None:
    """Say of every scope what may start, since when and why."""

    async def look() -> None:
        async with database():
            rows = await gates()
            table = Table(box=None, pad_edge=False)
            for name in ("scope", "mode", "since", "by", "why", "writes"):
                table.add_column(name, overflow="fold")
            for row in rows:
                shut = row["mode"] != GateMode.OPEN
                table.add_row(
                    plain(row["scope"]),
                    Text(row["mode"], style="red" if shut else ""),
                    ago(row["changed_at"]),
                    plain(row["who"]),
                    legible(row["reason"]),
                    _told(await standstill(row["scope"])) if shut else "",
                )
        console.print(table)
        if not any(row["scope"] == FLEET for row in rows):
            console.print("the fleet's row is missing: nothing may start; `sluice gate open`")
            raise typer.Exit(1)

    run(look())


@gate.command("open")
def open_(reason: Reason, scope: Scope = FLEET) -> None:
    """Let everything start again; runs that waited come back in growing cohorts."""
    run(_open(scope, reason))


@gate.command("close")
def close(reason: Reason, scope: Scope = FLEET, wait: Answer = Wait.STOPPED) -> None:
    """Let nothing start: no claims, no reads, no writes; runs park at their next step."""
    run(_shut(scope, GateMode.CLOSED, reason, wait))


@safe_mode.command("on")
def on(reason: Reason, scope: Scope = FLEET, wait: Answer = Wait.STOPPED) -> None:
    """Let no write start; come back when that is so.

    The answer STOPPED means: no write starts any more, anywhere. DRAINED: none is under way
    either, and those of which nobody knows what became of them are listed.
    """
    run(_shut(scope, GateMode.READ_ONLY, reason, wait))


@safe_mode.command("off")
def off(reason: Reason, scope: Scope = FLEET) -> None:
    """Let writes start again; runs that waited come back in growing cohorts."""
    run(_open(scope, reason))


async def _open(scope: str, reason: str) -> None:
    async with database() as bell:
        _not_the_policys(scope)
        opening = flip(scope, GateMode.OPEN, who=operator(), reason=reason)
        console.print(_flipped(await _patiently(opening)))
        bell.ring()
        others = [row for row in await gates() if row["mode"] != GateMode.OPEN]
    for row in others:
        console.print(f"{plain(row['scope'])} is still {row['mode']}: {plain(row['reason'])}")
    if any(row["scope"] == POLICY for row in others):
        console.print("the policy's safe mode ends in its file: safe_mode.enabled, and a restart")
        raise typer.Exit(EXIT_INCOMPLETE)


async def _shut(scope: str, mode: GateMode, reason: str, wait: Wait) -> None:
    async with database():
        _not_the_policys(scope)
        asked = time.monotonic()
        # Safe mode on does not loosen what somebody has closed.
        shutting = flip(scope, mode, who=operator(), reason=reason, loosen=False)
        done = await _patiently(shutting)
        since = time.monotonic()
        console.print(_flipped(done))
        with console.status("writes admitted before may yet leave ..."):
            found = await _patiently(stopped(scope, since, epoch=done.epoch))
        console.print(f"STOPPED after {time.monotonic() - asked:.2f} s: no write starts any more")
        if wait is Wait.DRAINED:
            with console.status(f"waiting for {found.may_travel} writes under way ..."):
                found = await _patiently(drained(scope, since, epoch=done.epoch))
            console.print(f"DRAINED after {time.monotonic() - asked:.2f} s: none is under way")
    console.print(_told(found))
    for each in found.in_doubt[:_LISTED] if wait is Wait.DRAINED else ():
        console.print(
            f"  in doubt: {each.tool} of run {each.run_id}, step {plain(each.step)}",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    if wait is Wait.DRAINED and len(found.in_doubt) > _LISTED:
        console.print(f"  ... and {len(found.in_doubt) - _LISTED:,} more: sluice gate")


async def _patiently(doing: Awaitable[T]) -> T:
    try:
        return await doing
    except (GateBusy, Overruled) as error:
        typer.echo(f"sluice: {error}", err=True)
        raise typer.Exit(1) from None


def _not_the_policys(scope: str) -> None:
    if scope == POLICY:
        raise ValueError(
            "the policy's own gate is flipped by its file: safe_mode.enabled, and a restart"
        )


def _flipped(done: Flip) -> str:
    return f"{plain(done.scope)} is {done.mode}" + ("" if done.changed else ", and was before")


def _told(found: Standstill) -> str:
    parts = [f"{found.may_start} may yet leave"] if found.may_start else []
    parts += [f"{found.may_travel:,} under way"] if found.may_travel else []
    parts += [f"{len(found.in_doubt):,} in doubt"] if found.in_doubt else []
    return f"{found.word}: {', '.join(parts) or 'nothing under way, nothing in doubt'}"
