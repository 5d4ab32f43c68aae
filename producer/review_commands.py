"""`sluice reviews` and `answer`: what waits for a person, and the verdict."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import orjson
import typer
from rich.text import Text

from models.database import hot
from models.review import DoubtVerdict, ReviewKind, Verdict
from models.verdict import BadAnswer, NotOpen
from models.verdict import answer as give
from producer.connection import database, document, operator, run
from producer.redacted import restored, shown
from producer.review_selection import Selection, somebody_works, what_follows
from producer.review_sheet import decided, export
from producer.rows import UnreadableBacklog
from producer.tables import ago, console, legible, review_lines

EXIT_INCOMPLETE = 3
_AT_ONCE = 3
_TOLD = 10
Kind = Annotated[
    ReviewKind | None, typer.Option(help="uncertain, approval, proposal, gap or in_doubt.")
]
Category = Annotated[str | None, typer.Option(help="Of the proposed answer; of a call, its tool.")]
Ids = Annotated[
    typer.FileText | None, typer.Option(help="A file with one id per line; - for stdin.")
]
Sheet = Annotated[
    Path | None, typer.Option("--import", help="A CSV file of `sluice reviews --export`.")
]
Edit = Annotated[str | None, typer.Option(help="Go on with this answer or arguments (JSON).")]
Happened = Annotated[str | None, typer.Option(help="In doubt: it did, with this result (JSON).")]
DidNotHappen = Annotated[bool, typer.Option("--did-not-happen", help="In doubt: send it again.")]
Abandon = Annotated[
    bool, typer.Option("--abandon", help="In doubt: the step has failed; never send it again.")
]
PipelineName = Annotated[str | None, typer.Option("--pipeline", help="Of this pipeline alone.")]


def reviews(  # noqa: PLR0917  # typer fills them by name
    kind: Kind = None,
    category: Category = None,
    pipeline: PipelineName = None,
    each: Annotated[bool, typer.Option("--list", help="Every review, oldest first.")] = False,  # noqa: FBT002  # typer's flags
    limit: Annotated[int, typer.Option(help="With --list, at most so many.", min=1)] = 100,
    to: Annotated[
        Path | None, typer.Option("--export", help="Write them to a CSV file, to be decided there.")
    ] = None,
) -> None:
    """Show what waits for a person, by kind and category or tool; --list names each."""
    selection = Selection(kind, category, pipeline)

    async def look() -> None:
        async with database():
            if to is not None:
                found = await selection.reviews()
                export(to, found)
                console.print(
                    f"{len(found):,} reviews in {to}: fill in the column verdict (approve, edit,"
                    f" reject), then `sluice answer --import {to}`",
                    highlight=False, markup=False, soft_wrap=True,
                )  # fmt: skip
            elif each:
                for row in await selection.reviews(limit):
                    console.print(review_lines(row))
            else:
                await _show_groups(selection)

    run(look())


class _Decision(NamedTuple):
    review: UUID
    verdict: Verdict | DoubtVerdict
    value: Any = None
    note: str | None = None


def answer(  # noqa: PLR0917  # typer fills them by name
    review: Annotated[list[UUID] | None, typer.Argument(help="Ids of reviews.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All open ones of these filters.")] = False,  # noqa: FBT002  # typer's flags
    kind: Kind = None,
    category: Category = None,
    pipeline: PipelineName = None,
    ids: Ids = None,
    sheet: Sheet = None,
    approve: Annotated[bool, typer.Option("--approve", help="Go on as proposed.")] = False,  # noqa: FBT002  # typer's flags
    reject: Annotated[bool, typer.Option("--reject", help="Do not go on.")] = False,  # noqa: FBT002  # typer's flags
    edit: Edit = None,
    happened: Happened = None,
    did_not_happen: DidNotHappen = False,  # noqa: FBT002  # typer's flags
    abandon: Abandon = False,  # noqa: FBT002  # typer's flags
    note: Annotated[str | None, typer.Option(help="Why; the client sees it.")] = None,
) -> None:
    """Give a verdict on reviews, each once, with your name on it; their runs go on.

    --all means the uncertain ones, unless --kind says others. A gap is filled by --edit
    '{"answer": ...}'; --approve says that it stays unknown. Of writes in doubt say whether they
    happened (look at the target first). A verdict is final.

    Exit code 3: some were not open any more, or their answer did not fit.
    """
    named = [UUID(line.strip()) for line in ids or () if line.strip()] + (review or [])
    if [bool(named), every, sheet is not None].count(True) != 1:
        raise typer.BadParameter("name reviews, or say --all, or --import FILE: one of these")
    verdict, value = _said(
        {
            Verdict.APPROVED: approve,
            Verdict.REJECTED: reject,
            Verdict.EDITED: edit,
            DoubtVerdict.HAPPENED: happened,
            DoubtVerdict.DID_NOT_HAPPEN: did_not_happen,
            DoubtVerdict.ABANDONED: abandon,
        },
        needed=sheet is None,
    )
    usual = ReviewKind.IN_DOUBT if isinstance(verdict, DoubtVerdict) else ReviewKind.UNCERTAIN

    async def collect() -> list[_Decision]:
        if sheet is not None:
            return await _of_sheet(sheet)
        if every:
            rows = await Selection(kind or usual, category, pipeline).reviews()
            named.extend(row["id"] for row in rows)
        return [_Decision(each, verdict, value, note) for each in named]

    run(_decide(collect))


def _said(
    options: Mapping[Verdict | DoubtVerdict, bool | str | None], *, needed: bool
) -> tuple[Verdict | DoubtVerdict, Any]:
    """The one verdict that was given, and the JSON that came with it."""
    given = [(verdict, word) for verdict, word in options.items() if word not in {None, False}]
    if len(given) != needed:
        raise typer.BadParameter(
            "say exactly one of --approve, --reject, --edit, or of a write in doubt --happened,"
            " --did-not-happen, --abandon (none to --import)"
        )
    verdict, word = given[0] if given else (Verdict.EDITED, None)
    return verdict, document(word) if isinstance(word, str) else None


async def _decide(collect: Callable[[], Awaitable[list[_Decision]]]) -> None:
    async with database() as bell:
        decisions = await collect()
        whole = await _give_all(decisions)
        bell.ring()
        if decisions and not await somebody_works():
            console.print("no worker runs: start one with `sluice up`, or run triage again")
    if not whole:
        raise typer.Exit(EXIT_INCOMPLETE)


async def _of_sheet(path: Path) -> list[_Decision]:
    try:
        lines = list(decided(path))
    except UnreadableBacklog as error:
        raise ValueError(str(error)) from None
    ids = [each.review for each in lines]
    asked = "SELECT id, proposal, kind FROM review WHERE id = ANY($1)"
    proposals = {
        row["id"]: (shown(row["proposal"]), row["kind"]) for row in await hot().fetch(asked, ids)
    }
    return [
        _Decision(each.review, *each.answer(*proposals.get(each.review, (None,))), each.note)
        for each in lines
    ]


async def _give_all(decisions: Iterable[_Decision]) -> bool:
    """Give each verdict by itself; whether all of them were taken."""
    who = operator()
    free = asyncio.Semaphore(_AT_ONCE)
    given: Counter[Verdict | DoubtVerdict] = Counter()
    refused: list[str] = []
    taken: list[UUID] = []

    async def one(each: _Decision) -> None:
        async with free:
            try:
                value = await _restored(each)
                await give(each.review, each.verdict, who=who, value=value, note=each.note)
            except NotOpen as error:
                refused.append(str(error))
            except BadAnswer as error:
                refused.append(f"review {each.review}: {error}")
            else:
                given[each.verdict] += 1
                taken.append(each.review)

    await asyncio.gather(*map(one, decisions))
    told = ", ".join(f"{verdict} {count:,}" for verdict, count in sorted(given.items()))
    console.print(f"{told}; {await what_follows(taken)}" if told else "nothing decided")
    for sentence in refused[:_TOLD]:
        console.print(Text(legible(sentence)), soft_wrap=True)
    if len(refused) > _TOLD:
        console.print(f"... and {len(refused) - _TOLD:,} more like these")
    return not refused


async def _restored(decision: _Decision) -> Any:
    """An edited answer, with what a list or a sheet had hidden put back."""
    if decision.value is None:
        return None
    proposal = await hot().fetchval("SELECT proposal FROM review WHERE id = $1", decision.review)
    return restored(decision.value, orjson.loads(proposal or b"null"), shown(proposal))


async def _show_groups(selection: Selection) -> None:
    groups = await selection.groups()
    if not groups:
        console.print("nothing waits for a person")
        return
    samples = {
        row["id"]: row
        for row in await selection.reviews(
            ids=[each for group in groups for each in group["samples"]]
        )
    }
    for group in groups:
        name = legible(group["category"]) or "no category"
        head = f"{group['kind']}, {name}: {group['reviews']:,}, the oldest {ago(group['oldest'])}"
        console.print(Text(head, style="bold"))
        for each in group["samples"]:
            if (row := samples.get(each)) is not None:
                console.print(_sample(row), no_wrap=True, overflow="ellipsis")
    for line in (
        "all of one category   sluice answer --all --category NAME --approve",
        "one                   sluice answer ID --approve | --reject | --edit JSON",
        "a write in doubt      sluice answer ID --happened JSON | --did-not-happen | --abandon",
        "in a spreadsheet      sluice reviews --export FILE.csv, sluice answer --import FILE.csv",
    ):
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def _sample(row: Any) -> Text:
    about = " ".join((row["subject"] or row["text"] or row["question"]).split())
    ticket = f"{legible(row['ticket'])}  " if row["ticket"] else ""
    return Text.assemble(f"  {row['id']}  ", (ticket, "cyan"), legible(about)[:200])
