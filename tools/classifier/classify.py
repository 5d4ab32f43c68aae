"""Classify a text from an event loop that never waits for it: loading and answering in threads."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from models.batcher import Batcher
from tools.classifier import modelfile, shelf
from tools.classifier.model import Facts, Model, Prediction
from tools.classifier.modelfile import ModelUnusable

K = TypeVar("K")
X = TypeVar("X")

_AT_ONCE = 32
"""Texts a thread answers before others have a turn: about twenty milliseconds of work."""
_KEPT = 4
"""Models a process keeps; the one that was loaded first goes when a fifth comes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A prediction, and the model that made it."""

    prediction: Prediction
    facts: Facts
    hash: str


class _Loaded:
    """A model in memory; texts that are asked about at the same moment share a thread's turn."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.predict: Batcher[str, Prediction] = Batcher(self._predict, limit=_AT_ONCE)

    async def _predict(self, texts: Sequence[str]) -> Sequence[Prediction | BaseException]:
        return await asyncio.to_thread(self.model.predict, texts)


_samples: dict[None, asyncio.Task[Path]] = {}
_loaded: dict[tuple[str, int, int], asyncio.Task[_Loaded]] = {}
"""By path, time of the last change and size: a file that was trained again is loaded again."""


async def classify(text: str, *, model: str | None = None) -> Verdict:
    """What a model file makes of the text; without one, the sample model.

    Raises:
        ModelUnusable: The file is missing, damaged or not ours; the sentence says which.
    """
    path = await _once(_samples, None, shelf.sample_model) if model is None else Path(model)
    loaded = await _once(_loaded, _stamp(path), lambda: _Loaded(modelfile.read(path)))
    for old in list(_loaded)[:-_KEPT]:
        del _loaded[old]
    prediction = await loaded.predict(text)
    return Verdict(prediction, loaded.model.facts, loaded.model.hash)


async def _once(tasks: dict[K, asyncio.Task[X]], key: K, make: Callable[[], X]) -> X:
    """Make a thing in a thread, once for everybody who asks; what failed is tried anew."""
    task = tasks.get(key)
    if task is None:
        task = tasks[key] = asyncio.create_task(asyncio.to_thread(make))
    try:
        return await asyncio.shield(task)  # one run's end is not the end of what others wait for
    except ModelUnusable:
        if tasks.get(key) is task:
            del tasks[key]
        raise


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise ModelUnusable(f"the model file {path} cannot be read: {error}") from error
    return str(path), found.st_mtime_ns, found.st_size
