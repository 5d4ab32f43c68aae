"""A person at random: approves, rejects, tries to edit, answers twice, lets it expire."""

import asyncio
import random
from collections import Counter
from typing import Any

from models.database import hot
from models.review import DoubtVerdict, Verdict
from models.verdict import BadAnswer, NotOpen, answer, expire

_WAYS = {"approve": 70, "reject": 14, "edit": 4, "twice": 4, "late": 4, "mistaken": 4}
_AT_ONCE = 8


class Person:
    """What was decided is remembered here, not read from the table afterwards."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # no secret
        self.approved: dict[tuple[str, str], list[Any]] = {}
        """By run and step: the documents that were shown and approved."""
        self.did: Counter[str] = Counter()

    async def answer_all(self) -> int:
        """Decide whatever is asked; how many questions that were."""
        rows = await hot().fetch(
            "SELECT id, run_id, step, kind, proposal FROM review WHERE verdict IS NULL ORDER BY id"
        )
        ways = self._random.choices(list(_WAYS), list(_WAYS.values()), k=len(rows))
        self.did.update(ways)
        pool = asyncio.Semaphore(_AT_ONCE)

        async def decide(row: Any, will: str) -> None:
            async with pool:
                await self._decide(row, will)

        await asyncio.gather(*(decide(row, will) for row, will in zip(rows, ways, strict=True)))
        await expire()
        return len(rows)

    async def _decide(self, row: Any, will: str) -> None:
        if will == "reject":
            await answer(row["id"], Verdict.REJECTED, who="jo")
        elif will == "late":
            await hot().execute("UPDATE review SET decide_by = now() WHERE id = $1", row["id"])
        else:
            await self._approve(row, will)

    async def _approve(self, row: Any, will: str) -> None:
        if will == "edit":
            await _refused(row["id"], Verdict.EDITED, value={"to": "eve", "nothing": "of the kind"})
        elif will == "mistaken":
            await _refused(row["id"], DoubtVerdict.HAPPENED, value={"text": "it did"})
        await answer(row["id"], Verdict.APPROVED, who="jo")
        place = (str(row["run_id"]), row["step"])
        self.approved.setdefault(place, []).append(bytes(row["proposal"]))
        if will == "twice":
            await _refused(row["id"], Verdict.REJECTED)


async def _refused(review: Any, verdict: Verdict | DoubtVerdict, value: Any = None) -> None:
    try:
        await answer(review, verdict, who="jo", value=value)
    except (BadAnswer, NotOpen):
        return
    raise AssertionError(f"{verdict} was taken")
