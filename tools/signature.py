"""A signature: what a tool takes and gives, by the annotations of its function."""

from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import BaseModel

from tools.misfit import unsteady


def signature(name: str, run: Callable[..., Any]) -> tuple[Any, Any]:
    """The models of a tool's arguments and of its result.

    Raises:
        TypeError: One of them is none that safety can rely on.
    """
    hints = get_type_hints(run)
    gives = hints.pop("return", None)
    takes: Any = next(iter(hints.values()), None)
    for model, role in ((takes, "arguments"), (gives, "result")):
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{name} must annotate its {role} with a Pydantic model")
        if model.model_config.get("extra") != "forbid":
            raise TypeError(f"{name}: {model.__name__} must forbid unknown fields (Contract)")
    if why := unsteady(takes):  # a resumed run would ask something else
        raise TypeError(f"{name}: {takes.__name__} is not the same twice: {why}")
    return takes, gives
