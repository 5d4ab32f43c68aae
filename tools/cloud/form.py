"""What is asked of a cloud, and what it answers."""

import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from tools.tool import Contract

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{2,63}$")]
"""Of an instance or a snapshot: one part of a path, whoever chose it."""
Money = Annotated[Decimal, Field(ge=0, le=10_000_000, decimal_places=2)]
"""US dollars a month."""
Tag = Annotated[str, StringConstraints(max_length=128)]

PROTECTED = ("prod", "critical")
"""An instance with one of these in a tag is never shut down, whoever asks for it: `production`,
`production-db`, `env:PROD`. Parts of words, so that it protects too much rather than too little."""


_LOOK_ALIKE = str.maketrans(
    "\u0440\u03c1\u0433\u043e\u03bf\u0501\u0441\u0456\u03b9\u0131\u0442\u03c4\u0430\u03b1\u04cf",
    "pproodciiittaal",
)
"""Letters of other alphabets that look like those of `PROTECTED`."""


def protecting(tags: Iterable[str]) -> str | None:
    """The tag that keeps an instance from being shut down, or None."""
    return next((tag for tag in tags if any(each in _seen(tag) for each in PROTECTED)), None)


def _seen(tag: str) -> str:
    """As somebody reads it: in small letters, without accents and what nobody sees."""
    parts = unicodedata.normalize("NFKD", tag).casefold()
    shown = (each for each in parts if each.isprintable() and not unicodedata.combining(each))
    return "".join(shown).translate(_LOOK_ALIKE)


class State(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"


class InstanceId(Contract):
    instance_id: Id


class Instance(Contract):
    """An instance as its cloud has it now."""

    instance_id: Id
    name: str = Field(max_length=200)
    state: State
    tags: tuple[Tag, ...] = Field(max_length=64)
    monthly_usd: Money
    """What it costs while it runs."""


class Estimate(Contract):
    """What shutting it down would come to, by the cloud's own figures."""

    instance_id: Id
    state: State
    would_save_usd: Money
    """0 for one that is stopped already."""


class SnapshotRef(Contract):
    """Where the disks of an instance are kept."""

    snapshot_id: Id
    instance_id: Id


class Shutdown(Contract):
    """The amount is part of what a person approves: at another one it is not shut down."""

    instance_id: Id
    would_save_usd: Money


class Stopped(Contract):
    instance_id: Id
    state: State
    saves_usd: Money
    dry_run: bool = False
    """Nothing was changed."""


class Start(Contract):
    instance_id: Id
    snapshot_id: Id
    """What it is brought back from, where its own disks are gone."""


class Started(Contract):
    instance_id: Id
    state: State
