"""Sources: where pipelines and tools come from, and what cannot be used there.

A source is a module that an operator names in `worker.catalogues`, or an entry point of an
installed package, `sluice.pipelines` or `sluice.tools`. It lists what it has; what is not listed is
not callable. What an operator has named must be there. What a package brought along and cannot be
used is left out and told, so that one broken package does not end a fleet.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module, invalidate_caches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from models.proposal import EXECUTE
from tools.tool import Tool
from worker.pipeline import Catalogue, Pipeline

PIPELINES, TOOLS = "PIPELINES", "TOOLS"
GROUPS = {"sluice.pipelines": PIPELINES, "sluice.tools": TOOLS}
_OURS = Path(__file__).parents[1]
_PACKAGES = {"config", "models", "tools", "worker"}


@dataclass(frozen=True)
class Broken:
    """A source that cannot be used."""

    source: str
    """`module` or `entry point of package`."""
    told: str
    place: str = ""
    """`file:line` of the author's own, where there is one."""
    asked: bool = True
    """An operator or a command line named it."""

    def __str__(self) -> str:
        return f"{self.source} cannot be used: {self.told}" + (
            f" ({self.place})" * bool(self.place)
        )


@dataclass
class Found:
    """What all sources have together."""

    pipelines: dict[tuple[str, int], Pipeline[Any, Any]] = field(default_factory=dict)
    listed: list[Tool[Any, Any]] = field(default_factory=list)
    modules: list[ModuleType] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    _by: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def tools(self) -> list[Tool[Any, Any]]:
        """Those that are listed, those that pipelines declare, and what takes them back."""
        every = list(self.listed)
        for each in self.pipelines.values():
            every.extend(each.tools.values())
        every.extend(each.undo.tool for each in list(every) if each.undo)
        return sorted({id(each): each for each in every}.values(), key=lambda each: each.name)

    def usable(self) -> Catalogue:
        """The pipelines, for a worker.

        Raises:
            ValueError: What an operator has named cannot be used, or two sources are at odds.
        """
        asked = [str(each) for each in self.broken if each.asked]
        if asked:
            raise ValueError("; ".join(asked))
        return self.pipelines

    def take(self, source: str, holder: Any, wanted: tuple[str, ...], *, asked: bool) -> None:
        """Add what a module or an object lists."""
        lists = [(name, getattr(holder, name)) for name in wanted if hasattr(holder, name)]
        if not lists:
            names = " or ".join(wanted)
            told = f"it lists nothing: end it with {names} = [...]; what is not listed is not used"
            self.broken.append(Broken(source, told, _file(holder), asked))
        for name, listed in lists:
            try:
                self._add(source, name, listed)
            except _Odd as error:
                self.broken.append(Broken(source, str(error), _file(holder), asked))
            except _Clash as error:  # whichever were taken, somebody would get the wrong one
                self.broken.append(Broken(source, str(error), _file(holder)))

    def _add(self, source: str, name: str, listed: Any) -> None:
        kind: type[Any] = Pipeline if name == PIPELINES else Tool
        single = isinstance(listed, kind)
        every = [listed] if single else _values(listed)
        odd = [each for each in every if not isinstance(each, kind)]
        if odd:
            word = "@pipeline" if kind is Pipeline else "@tool"
            raise _Odd(f"{name} lists {odd[0]!r:.80}, which no {word} has made")
        if kind is Tool:
            self.listed.extend(every)
            return
        if isinstance(listed, Mapping):
            _keys_are_right(listed)
        for each in every:
            if each.name == EXECUTE:
                raise _Odd(f"it lists a pipeline named {EXECUTE}, which is Sluice's own name")
            key = each.name, each.version
            if self.pipelines.setdefault(key, each) is not each:
                raise _Clash(
                    f"it lists {key[0]} version {key[1]}, and so does {self._by[key]}, another one:"
                    " give one of them another name or version, or list one of them only"
                )
            self._by.setdefault(key, source)


class _Odd(Exception):
    """What is listed is no pipeline or tool."""


class _Clash(Exception):
    """Two sources have one name for two things."""


def find(modules: Iterable[str], *, packages: bool) -> Found:
    """Everything that these modules list, and where wanted what installed packages bring.

    A module may also lie in the folder where the command was typed; what is installed wins.
    """
    found = Found()
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: a folder `tools` in it must not stand in for ours
        invalidate_caches()
    for name in modules:
        _module(found, name)
    if packages:
        for group, wanted in GROUPS.items():
            for entry in sorted(entry_points(group=group), key=lambda each: each.name):
                _package(found, entry, wanted)
    return found


def _module(found: Found, name: str) -> None:
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever an author's module does
        found.broken.append(Broken(name, _why(name, error), _line(error)))
        return
    found.modules.append(module)
    found.take(name, module, (PIPELINES, TOOLS), asked=True)


def _package(found: Found, entry: EntryPoint, wanted: str) -> None:
    """`mine = "mine.greetings"`, a module with the list; or `"mine.greetings:LIST"`, the list."""
    of = entry.dist.name if entry.dist else "an unknown package"
    source = f"{entry.name} = {entry.value} of the package {of}"
    try:
        loaded = entry.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever somebody's package does
        told = f"{_why(entry.module, error)}; mend it, or `pip uninstall {of}`"
        found.broken.append(Broken(source, told, _line(error), asked=False))
        return
    holder = loaded if isinstance(loaded, ModuleType) else _Listed(wanted, loaded)
    found.modules.append(sys.modules[entry.module])
    found.take(source, holder, (wanted,), asked=False)


class _Listed:
    """A list that an entry point names itself."""

    def __init__(self, name: str, listed: Any) -> None:
        setattr(self, name, listed)


def _values(listed: Any) -> list[Any]:
    if isinstance(listed, Mapping):
        return list(listed.values())
    return list(listed) if isinstance(listed, Iterable) else [listed]


def _keys_are_right(listed: Mapping[Any, Pipeline[Any, Any]]) -> None:
    for key, each in listed.items():
        if key != (each.name, each.version):
            raise _Odd(
                f"PIPELINES has {each.name} version {each.version} as {key!r}: a list of pipelines"
                " will do, it needs no keys"
            )


def _why(name: str, error: BaseException) -> str:
    if name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").replace("/", ".").strip(".")
        return f"that is a path: say the module's name, such as {module}"
    if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
        return (
            f"there is no module {error.name} here: run it in the folder that holds it, put that"
            " on PYTHONPATH, or install the package"
        )
    if isinstance(error, SystemExit):
        return f"it ends the process while it is imported (SystemExit: {error})"
    return f"{type(error).__name__} while it is imported: {error}"


def _line(error: BaseException) -> str:
    """Where in the author's own code it happened, the innermost such line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [each for each in extract_tb(error.__traceback__) if not _is_machinery(each.filename)]
    own = [each for each in frames if "site-packages" not in each.filename] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def _is_machinery(filename: str) -> bool:
    """Python's importing code, and ours, which an author's module calls."""
    path = Path(filename)
    inside = path.relative_to(_OURS).parts[0] if path.is_relative_to(_OURS) else ""
    return filename.startswith("<") or "importlib" in path.parts or inside in _PACKAGES


def _file(holder: Any) -> str:
    path = getattr(holder, "__file__", None)
    return f"{path}:1" if path else ""
