"""A model's file: arrays and JSON in a zip, nothing in it is ever executed.

A pickle could run any code of whoever wrote it, so there is none: a file from a stranger can
at worst be refused, or answer badly. numpy reads it with `allow_pickle=False`.
"""

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tools.classifier.features import KINDS, Vocabulary
from tools.classifier.model import EVIDENCE, FLOORED, Calibration, Facts, Model

FORMAT, VERSION = "sluice-classifier", 1
LARGEST_BYTES = 2 * 1024**3
"""Unpacked. More than any set of examples makes, and less than would fill a worker's memory."""
_ARRAYS = ("weights", "coefficients", "intercept", "centres", "calibration")


class ModelUnusable(ValueError):
    """This file is no model that can answer here; the sentence says why, and the way out."""


class _Head(BaseModel, extra="ignore", frozen=True):
    format: str
    version: int
    facts: dict[str, Any] = {}
    """Read only once format and version are ours."""


def write(model: Model, path: Path) -> None:
    """Put the file in its place at once: whoever reads sees the old one or the new one, whole."""
    arrays = _arrays(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: Path) -> Model:
    """Load a model.

    Raises:
        ModelUnusable: Missing, not a model, damaged, or of a newer Sluice.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelUnusable(f"the model file {path} cannot be read: {error.strerror}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(each.file_size for each in archive.infolist()) > LARGEST_BYTES:
                raise ModelUnusable(f"{path} unpacks to more than 2 GB, which no model does")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return _model({name: arrays[name] for name in arrays.files}, path)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
        if isinstance(error, ModelUnusable):
            raise
        raise ModelUnusable(
            f"{path} is not a model of `sluice train`, or is damaged: train it again"
        ) from error


def same(model: Model) -> Model:
    """The model as its file will have it, so that what was measured is what will answer."""
    return _model(_arrays(model), Path("(just trained)"))


def _arrays(model: Model) -> dict[str, NDArray[Any]]:
    head = _Head(format=FORMAT, version=VERSION, facts=model.facts.model_dump(mode="json"))
    curve = model.calibration
    half = np.float16  # three digits are enough for a sum over a hundred features
    kinds = {f"kind{at}": _bytes("\n".join(kind)) for at, kind in enumerate(model.vocabulary.kinds)}
    return {
        "head": _bytes(head.model_dump_json()),
        **kinds,
        "weights": model.vocabulary.weights.astype(half),
        "coefficients": model.coefficients.astype(half),
        "intercept": model.intercept.astype(np.float32),
        "centres": model.centres.astype(half),
        "calibration": np.concatenate([curve.weights, [curve.offset], curve.floors]),
    }


def _model(arrays: Mapping[str, NDArray[Any]], path: Path) -> Model:
    head = _Head.model_validate_json(arrays["head"].tobytes())
    if head.format != FORMAT:
        raise ModelUnusable(f"{path} is a file of {head.format!r}, not a model of `sluice train`")
    if head.version > VERSION:
        raise ModelUnusable(
            f"{path} was written by a newer Sluice (format {head.version}, this one reads up to"
            f" {VERSION}): update Sluice, or train the model again with this one"
        )
    facts = Facts.model_validate(head.facts)
    texts = (arrays[f"kind{at}"].tobytes().decode() for at in range(KINDS))
    kinds = tuple(tuple(text.split("\n")) if text else () for text in texts)
    floats = {name: np.ascontiguousarray(arrays[name], dtype=np.float32) for name in _ARRAYS[:4]}
    calibration = arrays["calibration"].astype(np.float64)
    columns, labels = sum(map(len, kinds)), len(facts.labels)
    shapes = {"weights": (columns,), "coefficients": (columns, labels), "intercept": (labels,),
              "centres": (columns, labels)}  # fmt: skip
    fits = calibration.shape == (EVIDENCE + 1 + len(FLOORED),)
    if not fits or any(floats[name].shape != shape for name, shape in shapes.items()):
        raise ModelUnusable(f"{path} is damaged, its parts do not fit together: train it again")
    numbers: tuple[NDArray[Any], ...] = (*floats.values(), calibration)
    if not all(np.isfinite(each).all() for each in numbers):
        raise ModelUnusable(f"{path} is damaged, it holds numbers that are none: train it again")
    return Model(
        facts=facts,
        vocabulary=Vocabulary(kinds, floats["weights"]),
        coefficients=floats["coefficients"],
        intercept=floats["intercept"],
        centres=floats["centres"],
        calibration=Calibration(
            calibration[:EVIDENCE], float(calibration[EVIDENCE]), calibration[EVIDENCE + 1 :]
        ),
        hash=_hash(arrays),
    )


def _hash(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + b"\0" + arrays[name].tobytes())
    return digest.hexdigest()[:12]


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)
