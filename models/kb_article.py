"""An article of the knowledge base, as a worker last read it from its folder."""

from sqlalchemy import Column, Computed, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlmodel import Field, SQLModel

_WORDS = """
    setweight(to_tsvector('english', title), 'A')
    || setweight(to_tsvector('english', keywords), 'B')
    || setweight(to_tsvector('simple', keywords), 'B')
    || setweight(to_tsvector('english', body), 'C')
"""
"""Keywords are kept as they are spelt too: those of other languages have no English stem."""


class KbArticle(SQLModel, table=True):
    """One row for each file of each folder that a worker has searched."""

    __tablename__ = "kb_article"

    folder: str = Field(primary_key=True, sa_type=Text)
    path: str = Field(primary_key=True, sa_type=Text)
    digest: bytes = Field(sa_type=LargeBinary)
    title: str = Field(sa_type=Text)
    excerpt: str = Field(sa_type=Text)
    keywords: str = Field(sa_type=Text)
    categories: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    words: str | None = Field(
        default=None, sa_column=Column(TSVECTOR, Computed(_WORDS, persisted=True))
    )

    __table_args__ = (Index("kb_article_words", "words", postgresql_using="gin"),)
