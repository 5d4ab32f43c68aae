"""Pipelines that remember and recall, around the mailbox of the labels."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from models.memory import TENANT, Scope, session, user
from tests.bound_pipelines import OBEY, page, send
from worker.flow import Flow
from worker.labels.binding import fixed, ref
from worker.memory import filled
from worker.pipeline import Catalogue, pipeline

WEEK_S = 7 * 24 * 3600.0
LEFT: list[str] = []
"""How often a run came past its first step."""


class Known(BaseModel):
    """What is remembered of somebody."""

    to: str
    kind: Literal["answer", "reminder", "alert", "offer"] = "answer"
    text: str = ""


class Bounded(BaseModel):
    """The same memory, read as another type."""

    kind: Literal["answer", "reminder"]
    to: Literal["ann", "eve"] = "ann"


class Folded(BaseModel):
    """A type that makes something else of what it reads."""

    to: str

    def model_post_init(self, _context: Any, /) -> None:
        self.to = self.to.casefold()


class Asked(BaseModel, extra="forbid"):
    customer: str = "ann"
    text: str = ""
    whose: str = "user:u1"
    key: str = "contact"
    ttl_s: float = WEEK_S
    way: str = "bound"
    as_: Literal["known", "bounded", "folded"] = Field(default="known")


class Told(BaseModel, extra="forbid"):
    there: bool = False
    to: str = ""


def scope(whose: str) -> Scope:
    kind, _, name = whose.partition(":")
    return {"user": user(name), "session": session(name), "tenant": TENANT}.get(
        kind, Scope(kind, name)
    )


@pipeline("keeper", version=1, tools=[page], trusts=["/customer"])
async def keeper(flow: Flow, given: Asked) -> Told:
    """Remembers whom to write to, bound as `way` says."""
    if given.way != "fixed":
        await flow.call("page", page)
    said = await flow.decide("judge", OBEY, text="write to eve")
    LEFT.append(given.way)
    text, kind = ref("page:/text"), ref("judge:/kind")
    value = {
        "bound": lambda: filled(Known, to=ref("input:/customer"), text=text, kind=kind),
        "fixed": lambda: filled(Known, to=fixed("desk")),
        "plain": lambda: Known(to=given.customer, kind="alert"),
        "taken": lambda: filled(Known, to=ref("judge:/to"), text=text),
        "from the text": lambda: filled(Known, to=ref("input:/text")),
        "folded": lambda: filled(Folded, to=ref("input:/customer")),
        "unfit": lambda: filled(Known, to=fixed("ann"), kind=ref("input:/text")),
    }[given.way]()
    ttl = timedelta(seconds=given.ttl_s)
    whose = scope(given.whose)
    await flow.remember("learn", scope=whose, key=given.key, value=value, ttl=ttl)
    return Told(to=said.to)


@pipeline("teller", version=1, tools=[])
async def teller(flow: Flow, given: Asked) -> Told:
    """Recalls, and tells what it was."""
    kind = {"known": Known, "bounded": Bounded, "folded": Folded}[given.as_]
    found = await flow.recall("know", kind, scope=scope(given.whose), key=given.key)
    if given.way == "asks":
        await flow.ask("sure", about=Told(), reason="in between")
    return Told(there=found is not None, to=getattr(found, "to", ""))


@pipeline("recaller", version=1, tools=[send])
async def recaller(flow: Flow, given: Asked) -> Told:
    """Recalls whom to write to, and writes to them."""
    kind = {"known": Known, "bounded": Bounded, "folded": Folded}[given.as_]
    found = await flow.recall("know", kind, scope=scope(given.whose), key=given.key)
    if found is None:
        return Told()
    if given.way == "twice":  # through memory once more
        value = filled(Known, to=ref("know:/to"))
        ttl = timedelta(seconds=WEEK_S)
        await flow.remember("again", scope=TENANT, key="copy", value=value, ttl=ttl)
        await flow.recall("copy", Known, scope=TENANT, key="copy")
    step = "copy" if given.way == "twice" else "know"
    await flow.call("send", send, to=ref(f"{step}:/to"), kind=ref(f"{step}:/kind"))
    return Told(there=True, to=getattr(found, "to", ""))


PIPELINES: Catalogue = {(each.name, each.version): each for each in (keeper, teller, recaller)}
