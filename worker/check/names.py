"""Names of steps: a name is a checkpoint, and is used once in a run."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from worker.check.finding import Finding, error, warning
from worker.check.script import LOOPS, Part, names

VERBS = ("call", "propose", "decide", "act", "plan", "assess", "ask", "each")
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def named(parts: Sequence[Part], about: str) -> Iterator[Finding]:
    """Steps whose names would be taken when the run comes to them."""
    for part in parts:
        seen: dict[str, ast.Call] = {}
        for verb in sorted(part.verbs(*VERBS), key=lambda each: (each.lineno, each.col_offset)):
            name = verb.args[0] if verb.args else None
            if name is None:
                continue
            loop = next((each for each in part.above(verb) if isinstance(each, LOOPS)), None)
            if loop is not None and _same_each_time(part, name, loop, verb):
                yield (warning if _depends(part, loop, verb) else error)(
                    "step-in-loop", part.place(verb), about,
                    f"the step {ast.unparse(name)} stands in a loop and has the same name each"
                    " time; the second one ends the run",
                    'put what differs into its name, f"...-{key}", or use flow.each',
                )  # fmt: skip
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                before = seen.setdefault(name.value, verb)
                if before is not verb and not _apart(part, before, verb):
                    first = part.place(before)
                    yield error(
                        "step-twice", part.place(verb), about,
                        f"two steps are named {name.value!r}, the first one at {first}",
                        "give each step a name of its own",
                    )  # fmt: skip


def _same_each_time(part: Part, name: ast.expr, loop: ast.AST, verb: ast.Call) -> bool:
    if any(isinstance(each, ast.Call) for each in ast.walk(name)):
        return False  # who knows what a function makes of it
    if _is_head(part, loop, verb) or _ends_with_it(part, loop, verb):
        return False
    return not names(name) & _varying(loop)


def _depends(part: Part, loop: ast.AST, verb: ast.AST) -> bool:
    """Whether a condition in the loop, such as `i == 0`, says in which round the step is done."""
    chain = list(part.above(verb))
    tests = [each.test for each in chain[: chain.index(loop)] if isinstance(each, ast.If)]
    return any(
        isinstance(each, ast.Compare)
        and isinstance(each.ops[0], ast.Eq)
        and names(each) & _varying(loop)
        for test in tests
        for each in ast.walk(test)
    )


def _varying(loop: ast.AST) -> set[str]:
    """The names that a loop gives another value each time."""
    return {
        each.id
        for each in ast.walk(loop)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    } | {each.arg for each in ast.walk(loop) if isinstance(each, ast.arg)}


def _is_head(part: Part, loop: ast.AST, verb: ast.AST) -> bool:
    """`for x in await flow.call(...)` comes to it once."""
    chain = [verb, *part.above(verb)]
    below = chain[chain.index(loop) - 1]
    heads = [loop.iter] if isinstance(loop, ast.For | ast.AsyncFor) else []
    return below in heads


def _ends_with_it(part: Part, loop: ast.AST, verb: ast.AST) -> bool:
    """What follows the step in its block leaves the loop."""
    if not isinstance(loop, ast.For | ast.AsyncFor | ast.While):
        return False
    chain = [verb, *part.above(verb)]
    for below in chain[: chain.index(loop)]:
        block = _block(part, below)
        after = block[block.index(below) :] if block else []
        if any(isinstance(each, ast.Return | ast.Raise | ast.Break) for each in after):
            return True
    return False


def _apart(part: Part, one: ast.AST, other: ast.AST) -> bool:
    """Whether a run comes to one of two places at most."""
    chain, others = [one, *part.above(one)], [other, *part.above(other)]
    above = next(each for each in chain if each in others)
    first, second = chain[chain.index(above) - 1], others[others.index(above) - 1]
    if isinstance(above, ast.If | ast.IfExp | ast.Match) and _side(above, first) != _side(
        above, second
    ):
        return True
    return any(  # an early return before the other
        isinstance(block[-1], _LEAVES)
        for each in chain[: chain.index(first)]
        if isinstance(part.parents.get(each), ast.If) and (block := _block(part, each))
    )


def _side(above: ast.AST, below: Any) -> str:
    if isinstance(above, ast.Match):
        return str(above.cases.index(below)) if below in above.cases else "subject"
    if below is getattr(above, "test", None):
        return "test"
    body = getattr(above, "body", None)
    return "body" if below is body or (isinstance(body, list) and below in body) else "else"


def _block(part: Part, node: ast.AST) -> list[ast.AST]:
    """The statements among which a node stands; none for a part of one."""
    above = part.parents.get(node)
    for field in ("body", "orelse", "finalbody"):
        block = getattr(above, field, None)
        if isinstance(block, list) and node in block:
            return list(block)
    return []
