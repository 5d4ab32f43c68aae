"""Provenance: what a model was made from, as one hash, so that the same is not made twice."""

import hashlib
from pathlib import Path


def training_hash(examples: str, precision: float) -> str:
    """Of the examples' digest, the precision asked for, and the code that learns and answers."""
    told = hashlib.sha256(f"{examples} {precision!r}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        told.update(path.read_bytes())
    return told.hexdigest()
