"""A scope: whose gate it is."""

from difflib import get_close_matches

from models.database import hot

FLEET, POLICY = "fleet", "policy"
"""The scopes of everybody: the operators' own, and the one that only the policy's file moves."""
_NAMES = {
    "tenant": "SELECT name FROM tenant UNION SELECT 'local'",
    "pipeline": "SELECT DISTINCT name FROM contract",
    "tool": "SELECT DISTINCT json_array_elements_text(tools) FROM contract",
}
_TENANT = "SELECT EXISTS (SELECT FROM request_key WHERE tenant = $1)"


async def known(scope: str) -> None:
    """A misspelt scope would stop nothing, and nobody would notice."""
    kind, _, name = scope.partition(":")
    if scope in {FLEET, POLICY}:
        return
    if kind not in _NAMES or not name:
        raise ValueError(f"{scope!r} is no scope: fleet, tenant:NAME, pipeline:NAME or tool:NAME")
    names = [row[0] for row in await hot().fetch(_NAMES[kind])]
    if name in names or (kind == "tenant" and await hot().fetchval(_TENANT, name)):
        return
    close = get_close_matches(name, names, n=1)
    others = f"known are {', '.join(sorted(names)[:20]) or 'none'}"
    raise ValueError(f"no {kind} is named {name!r}: " + (f"{close[0]!r}?" if close else others))


def readable(scope: str, reason: str) -> None:
    if not reason.strip() or "\x00" in reason:
        raise ValueError("a flip needs a reason: whoever comes next will read it")
    try:
        (scope + reason).encode()
    except UnicodeEncodeError:
        raise ValueError("scope and reason must be text: this cannot be written in UTF-8") from None
