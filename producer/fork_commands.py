"""`sluice fork`: a new run from a step of one that is over."""

from typing import Annotated

import typer

from models.fork import Fork, fork
from producer.connection import database, document, operator, run
from producer.run_commands import find
from producer.tables import console


def fork_run(
    wanted: Annotated[str, typer.Argument(metavar="RUN", help="A run id or an idempotency key.")],
    *,
    step: Annotated[str, typer.Option("--from", help="The first step that is made anew.")],
    key: Annotated[str, typer.Option(help="Idempotency key of the new run.")],
    version: Annotated[
        int | None, typer.Option(help="Of the pipeline; without one, the same.")
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option("--input", help="Another input, as JSON, @FILE or -; without one, the same."),
    ] = None,
    writes_again: Annotated[
        bool,
        typer.Option("--writes-again", help="What RUN wrote from that step on may be made again."),
    ] = False,
) -> None:
    """Begin a new run with the record of one that is over, up to a step; the rest is made anew.

    Settled steps before --from are copied and not made again. From there on every call is a NEW
    call under the new run's own keys: a target that has taken RUN's write takes the fork's as
    another one. Approvals are not copied: a person is asked again.
    """
    given = document(input_) if input_ is not None else None

    async def ask() -> None:
        async with database() as bell:
            source = await find(wanted)
            asked = Fork(
                source, step, key, who=operator(), version=version, input=given,
                writes_again=writes_again,
            )  # fmt: skip
            receipt = await fork(asked)
            bell.ring()
            again = "  (this key was known: the same run)" if receipt.replayed else ""
            console.print(f"{receipt.run_id}{again}", highlight=False)

    run(ask())
