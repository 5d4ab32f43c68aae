"""The clients of language models: one for each event loop and endpoint, made when first used."""

import asyncio
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import SecretStr

from config.endpoint import Endpoint
from config.settings import settings
from tools.llm.price import Unpriced, price
from tools.secret import read_secret

_PROVIDER = "tools.llm.provider"
_open: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, Endpoint], Any]] = (
    WeakKeyDictionary()
)


def endpoint(name: str) -> Endpoint | None:
    """What the settings call so."""
    return settings().models.get(name)


async def warm() -> None:
    """Import now, in a thread, what the first question would have to wait for."""
    named = settings().models.values()
    if named:
        await asyncio.to_thread(import_module, _PROVIDER)
        await asyncio.to_thread(_look_up_prices, list(named))


async def provider(name: str, at: Endpoint) -> Any:
    """The client of an endpoint, on this loop: a `tools.llm.provider.Provider`.

    Raises:
        NoSecret: Its key is not where the settings say.
    """
    here = _open.setdefault(asyncio.get_running_loop(), {})
    found = here.get((name, at))
    if found is not None and found.key_is_good:
        return found
    library = await asyncio.to_thread(import_module, _PROVIDER)
    key = await asyncio.to_thread(read_secret, at.secret) if at.secret else SecretStr("")
    if (name, at) not in here:
        here[name, at] = library.Provider(f"model.{name}", at)
    here[name, at].use(key)
    return here[name, at]


async def close() -> None:
    """Close what was opened on this loop."""
    for each in _open.pop(asyncio.get_running_loop(), {}).values():
        await each.close()


def _look_up_prices(endpoints: list[Endpoint]) -> None:
    for each in endpoints:
        try:
            price(each)
        except Unpriced:
            continue  # told to whoever asks it
