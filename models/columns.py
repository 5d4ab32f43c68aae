"""Columns that several tables share, so that one kind of value is stored in one way."""

from enum import Enum as EnumClass
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Enum, Numeric, text
from sqlmodel import Field


def word(kind: type[EnumClass]) -> Any:
    """Store an enum by its lower-case value; SQLModel alone would store its member's name."""
    return Enum(
        kind, values_callable=lambda each: [m.value for m in each], native_enum=False, length=40
    )


def plain(told: str | None, most: int = 2_000) -> str | None:
    """A text for people as a text column takes it: without NUL, which PostgreSQL refuses together
    with the whole batch, and cut."""
    return None if told is None else told[:most].replace("\0", "\N{REPLACEMENT CHARACTER}")


def when(*, nullable: bool = True, default: str | None = None) -> Any:
    """A moment by the database's clock; `default` is SQL."""
    return Field(
        default=None,
        sa_column=Column(
            DateTime(timezone=True),
            nullable=nullable,
            server_default=text(default) if default else None,
        ),
    )


def document(*, nullable: bool = True) -> Any:
    """A JSON text kept byte for byte: what a settled step returned is what its replay returns.

    `jsonb` would rewrite numbers (1e22 becomes an integer) and refuse escaped NULs late.
    """
    return Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=nullable))


def usd() -> Any:
    """US dollars, to a millionth of a cent: what one token costs."""
    return Field(default=0, sa_column=Column(Numeric(14, 8), nullable=False, server_default="0"))
