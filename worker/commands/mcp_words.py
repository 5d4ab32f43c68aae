"""What an operator says on the command line of a server and its tools, read into their words."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tools.mcp.lock import Lock
from tools.mcp.pin import Definition, LockError, Word
from tools.misfit import faults


def pairs(said: Iterable[str] | None, *, bare: bool = False) -> dict[str, str]:
    """`NAME=OURS`, or where that is allowed `NAME` for the variable of the same name.

    Raises:
        LockError: One of them names no variable.
    """
    found: dict[str, str] = {}
    for each in said or ():
        name, is_there, variable = each.partition("=")
        if not (is_there or bare):
            raise LockError(
                f"{name} needs the name of a variable that it is filled from: NAME=OURS"
            )
        found[name] = variable or name
    return found


def words(said: Iterable[str], lock: Lock, offered: Mapping[str, Definition]) -> dict[str, Word]:
    """`TOOL:WORD=VALUE[,...]` on top of what was said before.

    Raises:
        LockError: There is no such tool or word, or it cannot be that.
    """
    known = {each.definition.name: each.operator for each in lock.tools}
    found: dict[str, Word] = {}
    for each in said:
        tool, _, rest = each.partition(":")
        tool = tool.removeprefix(f"{lock.server}.")
        if tool not in offered:
            raise LockError(f"{lock.server} offers no tool {tool}; it offers {', '.join(offered)}")
        before = found.get(tool) or known.get(tool, Word())
        heard = before.model_dump(mode="json", exclude_none=True) | _heard(rest)
        try:
            found[tool] = Word.model_validate(
                {key: value for key, value in heard.items() if value != ""}
            )
        except ValidationError as error:
            raise LockError(f"of {tool} that cannot be said: {faults(error)}") from None
    return found


def _heard(rest: str) -> dict[str, Any]:
    heard: dict[str, Any] = {}
    for each in rest.split(","):
        word, is_there, value = each.partition("=")
        if not is_there:
            raise LockError(f"{each!r} says nothing: TOOL:WORD=VALUE[,WORD=VALUE]")
        heard[word.strip()] = _file(value[1:]) if value.startswith("@") else value.strip()
    return heard


def _file(name: str) -> Any:
    try:
        return json.loads(Path(name).read_bytes())
    except (OSError, ValueError) as error:
        raise LockError(f"{name} is no JSON that can be read: {error}") from None
