"""What a resumed run would not come by in the same way: clock, chance, network, tasks."""

import ast
import builtins
from collections.abc import Iterator, Mapping, Sequence

from worker.check.finding import Finding, error, warning
from worker.check.script import Part, dotted

_SIDE = "use flow.all or flow.each: they let outcomes wait for their siblings"
_CLOCK = "put the moment into the input, or read it in a tool: a resumed run must see the same one"
_LATER = "let a tool say Unavailable with retry_after_s: the run then leaves and comes back"
_CHANCE = "make it in a tool, or of the input: a resumed run must get the same one"
_WORLD = "put it into a tool: its result is recorded, and gates and budgets guard it"
_SURROUNDINGS = (
    "read it where the module is imported, or put it into the input: the next worker's may differ"
)
_RULES: Mapping[str, tuple[str, str, str]] = {
    "asyncio.": ("concurrency", "starts or waits for tasks of its own", _SIDE),
    "threading.": ("concurrency", "starts threads", _SIDE),
    "concurrent.futures.": ("concurrency", "starts threads", _SIDE),
    "asyncio.sleep": ("clock", "sleeps, and holds its worker", _LATER),
    "time.": ("clock", "looks at the clock", _CLOCK),
    "datetime.datetime.now": ("clock", "looks at the clock", _CLOCK),
    "datetime.datetime.utcnow": ("clock", "looks at the clock", _CLOCK),
    "datetime.datetime.today": ("clock", "looks at the clock", _CLOCK),
    "datetime.date.today": ("clock", "looks at the clock", _CLOCK),
    "random.": ("chance", "throws dice", _CHANCE),
    "secrets.": ("chance", "throws dice", _CHANCE),
    "numpy.random.": ("chance", "throws dice", _CHANCE),
    "os.urandom": ("chance", "throws dice", _CHANCE),
    "uuid.uuid1": ("chance", "makes a new id", _CHANCE),
    "uuid.uuid4": ("chance", "makes a new id", _CHANCE),
    "uuid.uuid6": ("chance", "makes a new id", _CHANCE),
    "uuid.uuid7": ("chance", "makes a new id", _CHANCE),
    "hash": ("chance", "uses hash(), which differs from process to process",
             "use hashlib.sha256: a resumed run must come to the same"),
    "os.environ": ("surroundings", "reads the environment", _SURROUNDINGS),
    "os.getenv": ("surroundings", "reads the environment", _SURROUNDINGS),
    "open": ("world", "opens a file", _WORLD),
    "os.open": ("world", "opens a file", _WORLD),
    "requests.": ("world", "speaks with the network", _WORLD),
    "httpx.": ("world", "speaks with the network", _WORLD),
    "aiohttp.": ("world", "speaks with the network", _WORLD),
    "urllib.request.": ("world", "speaks with the network", _WORLD),
    "urllib3.": ("world", "speaks with the network", _WORLD),
    "http.client.": ("world", "speaks with the network", _WORLD),
    "socket.": ("world", "speaks with the network", _WORLD),
    "subprocess.": ("world", "starts programs", _WORLD),
    "os.system": ("world", "starts programs", _WORLD),
}  # fmt: skip
"""By full name; with a dot at its end, all that begins so."""
_HARMLESS = frozenset({
    "asyncio.CancelledError", "asyncio.TimeoutError", "random.Random", "time.strftime",
    "time.struct_time", "time.strptime",
})  # fmt: skip
_EVERYTHING = {"everything", "BaseException", "asyncio.CancelledError"}


def replayed(part: Part, about: str) -> Iterator[Finding]:
    """What in this function would not come the same way again."""
    seen: set[tuple[int, str]] = set()
    for node in ast.walk(part.node):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = part.full_name(node) or _builtin(part, node)
            rule = _rule(name)
            if rule is None or (node.lineno, rule[0]) in seen:
                continue
            seen.add((node.lineno, rule[0]))
            code, told, do = rule
            told = f"{part.node.name} {told} ({name}) between two steps"
            yield error(code, part.place(node), about, told, do)
        elif isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if not any(isinstance(each, ast.Raise) and each.exc is None for each in ast.walk(node)):
                yield from _swallowed(part, node, kinds, about)
        elif isinstance(node, ast.Call) and part.full_name(node.func) == "contextlib.suppress":
            yield from _swallowed(part, node, node.args, about)
        elif isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter):
            told = f"{part.node.name} goes over a set, whose order differs between processes"
            yield warning(
                "set-order", part.place(node.iter), about, told, "go over sorted(...) of it"
            )


def _rule(name: str) -> tuple[str, str, str] | None:
    if not name or name in _HARMLESS:
        return None
    if name in _RULES:
        return _RULES[name]
    return next((
        rule for prefix, rule in _RULES.items() if prefix.endswith(".") and name.startswith(prefix)
    ), None)  # fmt: skip


def _builtin(part: Part, node: ast.expr) -> str:
    """A built-in's name, where nothing of the author's own has it."""
    name = dotted(node)
    own = name in part.function.__globals__ or name in part.function.__code__.co_varnames
    return name if hasattr(builtins, name) and not own else ""


def _swallowed(
    part: Part, node: ast.AST, kinds: Sequence[ast.expr | None], about: str
) -> Iterator[Finding]:
    caught = {(part.full_name(each) or dotted(each)) if each else "everything" for each in kinds}
    if found := caught & _EVERYTHING:
        yield error(
            "swallowed",
            part.place(node),
            about,
            f"{part.node.name} catches {min(found)}, also Stop, Ask and LostLease, by which a run"
            " leaves",
            "catch ToolFailed, or Exception at most",
        )


def _is_set(node: ast.expr) -> bool:
    called = isinstance(node, ast.Call) and dotted(node.func) in {"set", "frozenset"}
    return called or isinstance(node, ast.Set | ast.SetComp)
