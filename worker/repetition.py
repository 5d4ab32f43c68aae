"""Repetition: whether a run goes round in circles, judged by what its calls bring.

A call is what was asked and what came of it: tool, arguments, and result or failure. It brings
something new unless it failed, or the run has seen it before; a write that does begins the count
of repetitions anew. So does a person's answer; a decision does not, for it is what goes in circles.
What begins side by side is judged branch by branch, and after that counts as one call: on replay
nothing waits, so no verdict may hang on what came first.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar, copy_context
from typing import Any

from config.policy import LoopDetection
from worker.branch import MANY, Branch

_BRANCH: ContextVar[Branch | None] = ContextVar("_BRANCH", default=None)
"""The branch that the current task carries out."""


class Repetition:
    """What one run has called, as far as it tells a loop; the same on every replay."""

    def __init__(self, rules: LoopDetection) -> None:
        self._rules = rules
        self._made: Branch | None = None

    def saw(self, tool: str, asked: bytes, got: bytes, *, writes: bool, failed: bool) -> None:
        """Note a call whose outcome is recorded.

        Raises:
            Stop: With it the run goes in circles.
        """
        self._saw(_BRANCH.get() or self._trunk(), tool, asked, got, writes=writes, failed=failed)

    def anew(self) -> "Repetition":
        """By the same rules, and nothing was called yet."""
        return Repetition(self._rules)

    def foresee(self, tool: str, asked: bytes, *, writes: bool) -> None:
        """Note a call that is to be made, as if the same call always brought the same.

        Raises:
            Stop: Then it would go in circles with those foreseen before it.
        """
        self._saw(self._trunk(), tool, asked, b"", writes=writes, failed=False)

    def _saw(
        self, branch: Branch, tool: str, asked: bytes, got: bytes, *, writes: bool, failed: bool
    ) -> None:
        key = hash((asked, got))
        new = not failed and not branch.knows(key)
        if new and branch.parent is None:
            branch.found_something(key, wrote=writes)
            return
        branch.saw(key, tool, new=new, wrote=new and writes, failed=failed)

    def _trunk(self) -> Branch:
        """Made by the first call: many a run has none."""
        if self._made is None:
            self._made = Branch(self._rules, None)
        return self._made

    def answered(self) -> None:
        """A person has answered: what follows may well be what was before."""
        (_BRANCH.get() or self._trunk()).begin_anew()

    def fork(self, steps: Sequence[Awaitable[Any]]) -> "Fork":
        return Fork(self._rules, _BRANCH.get() or self._trunk(), steps)


class Fork:
    """Branches that begin side by side, each judged by itself."""

    def __init__(self, rules: LoopDetection, stem: Branch, steps: Sequence[Awaitable[Any]]) -> None:
        self._stem = stem
        self._branches = [Branch(rules, stem) for _ in steps]
        self.tasks = [
            _task(branch, step) for branch, step in zip(self._branches, steps, strict=True)
        ]

    def join(self) -> None:
        """Note all of it as one call; a single one is just that.

        Raises:
            Stop: With it the run goes in circles.
        """
        if any(each.answered for each in self._branches):
            self._stem.begin_anew()
        busy = [each for each in self._branches if each.calls]
        if not busy:
            return
        first, *more = busy
        key = hash(tuple(each.key for each in busy)) if more else first.key
        new, wrote = any(each.found for each in busy), any(each.wrote for each in busy)
        for each in busy:
            self._stem.learn(each)
        failed = all(each.all_failed for each in busy)
        tool = MANY if more else first.tool
        self._stem.saw(key, tool, new=new, wrote=wrote, failed=failed)


def _task(branch: Branch, step: Awaitable[Any]) -> Awaitable[Any]:
    if not asyncio.iscoroutine(step):
        return step  # somebody else's task, under way already
    context = copy_context()
    context.run(_BRANCH.set, branch)
    return asyncio.get_running_loop().create_task(step, context=context)
