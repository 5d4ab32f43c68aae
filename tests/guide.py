"""What the documentation shows, as a reader would type it."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The blocks of one language on a page of docs/, in their order."""
    found = _BLOCK.findall((DOCS / page).read_text())
    return [text for kind, text in found if kind == language]


def module(page: str, *, after: int = 0) -> str:
    """The Python blocks of a page as one module; it may begin behind the first ones."""
    return "\n\n".join(blocks(page, "python")[after:])
