"""A pipeline: an async function with a name, a version and the tools it may use."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel

from models.budget import Budget
from models.contract import Contract
from tools.tool import Tool
from worker.flow import Flow

I = TypeVar("I", bound=BaseModel)  # noqa: E741  # an input
O = TypeVar("O", bound=BaseModel)  # noqa: E741  # a result


@dataclass(frozen=True)
class Pipeline(Generic[I, O]):
    name: str
    version: int
    takes: type[I]
    gives: type[O]
    tools: Mapping[str, Tool[Any, Any]]
    budget: Budget
    body: Callable[[Flow, I], Awaitable[O]]
    trusts: tuple[str, ...] = ()
    """JSON pointers of its input that the authenticated client vouches for."""

    def contract(self) -> Contract:
        """The pipeline as clients see it."""
        return Contract(
            name=self.name,
            version=self.version,
            input_schema=self.takes.model_json_schema(),
            result_schema=self.gives.model_json_schema(),
            budget=self.budget.model_dump(mode="json"),
            tools=sorted(self.tools),
        )


def pipeline(
    name: str,
    *,
    version: int,
    tools: Iterable[Tool[Any, Any]] = (),
    budget: Budget | None = None,
    trusts: Iterable[str] = (),
) -> Callable[[Callable[[Flow, I], Awaitable[O]]], Pipeline[I, O]]:
    """Make a pipeline of `async def body(flow: Flow, input: I) -> O`.

    Between steps it may not look at a clock, at chance or at the network: a resumed run replays
    its record and must come by the same way. A change that alters the steps is a new version.
    `trusts` names the parts of the input that whoever calls chose, and no text from outside.

    Raises:
        TypeError: At import, when the function is not annotated with Pydantic models.
    """

    def declare(body: Callable[[Flow, I], Awaitable[O]]) -> Pipeline[I, O]:
        hints = get_type_hints(body)
        gives = hints.pop("return", None)
        takes = [hint for hint in hints.values() if hint is not Flow]
        if len(takes) != 1 or not all(_is_model(each) for each in (*takes, gives)):
            raise TypeError(
                f"{name} must be annotated as (Flow, a Pydantic model) -> a Pydantic model"
            )
        return Pipeline(
            name=name,
            version=version,
            takes=takes[0],
            gives=gives,
            tools={each.name: each for each in tools},
            budget=budget or Budget(),
            body=body,
            trusts=tuple(trusts),
        )

    return declare


Catalogue = Mapping[tuple[str, int], Pipeline[Any, Any]]


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)
