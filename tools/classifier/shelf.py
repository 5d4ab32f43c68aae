"""The shelf: where the sample model stands, trained at first use and kept in the data folder."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.settings import settings
from tools.classifier import labelled
from tools.classifier.labelled import ExamplesUnusable, Labelled
from tools.classifier.modelfile import ModelUnusable
from tools.classifier.provenance import training_hash

TRAINING_S = 120
_PROJECT = Path(__file__).parents[2]
_SAID_CHARS = 300


def sample_model() -> Path:
    """The model of the examples that the settings name, trained now if it never was. It blocks.

    It is trained by a process of its own, so that no worker imports scikit-learn: that takes a
    second of its event loop, and 90 MB that it would never give back.

    Raises:
        ModelUnusable: The examples are missing or of no use, or training failed.
    """
    _, path = sample()
    if path.exists():
        return path
    command = [sys.executable, "-m", "tools.classifier"]
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module, no input of anybody
            command, cwd=_PROJECT, env=_surroundings(), capture_output=True, text=True,
            timeout=TRAINING_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ModelUnusable(f"training the sample model took longer than {TRAINING_S} s") from error
    if done.returncode != 0 or not path.exists():
        said = done.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        raise ModelUnusable(f"the sample model could not be trained: {said[0][:_SAID_CHARS]}")
    return path


def sample() -> tuple[Labelled, Path]:
    """The examples that the settings name, and where their model stands or will stand.

    Raises:
        ModelUnusable: There is nothing to learn from.
    """
    own = settings()
    try:
        examples = labelled.read(own.classifier.labelled)
    except ExamplesUnusable as error:
        raise ModelUnusable(f"there is no sample model: {error}") from error
    made_from = training_hash(examples.digest, own.classifier.precision)
    return examples, own.data.absolute() / "models" / f"sample-{made_from[:16]}.model"


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Wait until nobody else makes this file; the answer is whether it is still missing.

    Who waited finds it made. A maker that is killed leaves its lock to the next, and no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not path.exists()


def _surroundings() -> dict[str, str]:
    """This process's settings, with the data folder as it is from here."""
    return {**os.environ, "SLUICE_DATA": str(settings().data.absolute())}
