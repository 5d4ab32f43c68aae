"""The knowledge base: a folder of Markdown, searched by PostgreSQL's full text."""

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import Field, StringConstraints

from config.settings import settings
from models.batcher import Batcher
from models.database import hot
from models.kb_article import KbArticle
from tools.tickets.form import one_line, plain
from tools.tool import Call, Contract, Effect, tool

log = structlog.get_logger()

QUERY_CHARS = 1_000
"""A search reads this much of a text; what it asks stands at its beginning."""
FOUND = 3
EXCERPT_CHARS = 600
LARGEST_BYTES = 256 * 1024
MOST_ARTICLES = 5_000
_LOOK_S = 2.0
"""Files are looked at this often, when somebody searches; a look is a listing of the folder."""
_TOLD_S = 60.0
"""This often they are written even when unchanged, in case the table was emptied."""
_TITLE = re.compile(r"^#\s+(.+)$", re.MULTILINE)
_KEYWORDS = re.compile(r"^keywords:\s*(.+)$", re.MULTILINE | re.IGNORECASE)
_CATEGORIES = re.compile(r"^categories:\s*(.+)$", re.MULTILINE | re.IGNORECASE)
"""Two lines that an article may end with: words it is found by, tickets it helps to answer."""


class Query(Contract):
    query: Annotated[str, StringConstraints(max_length=QUERY_CHARS)]


class Article(Contract):
    title: str
    path: str
    """Below the folder."""
    excerpt: str
    """Its first paragraph: an article says the answer first."""
    categories: tuple[str, ...] = ()
    """Of the tickets that it helps to answer; empty: of any."""

    def fits(self, category: str) -> bool:
        return not self.categories or category in self.categories


class Articles(Contract):
    articles: tuple[Article, ...] = Field(max_length=FOUND)


_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('kb:' || $1, 0))"
"""Of workers that see a change at once, one writes and the others find it written."""

_PUT = """
    INSERT INTO kb_article AS a (folder, path, digest, title, excerpt, keywords, categories, body)
    SELECT $1, *
      FROM unnest($2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[],
                  $8::text[])
    ON CONFLICT (folder, path) DO UPDATE
       SET digest = EXCLUDED.digest, title = EXCLUDED.title, excerpt = EXCLUDED.excerpt,
           keywords = EXCLUDED.keywords, categories = EXCLUDED.categories, body = EXCLUDED.body
     WHERE a.digest <> EXCLUDED.digest
"""

_DROP = "DELETE FROM kb_article WHERE folder = $1 AND path <> ALL ($2::text[])"

# Any of the words will do, the rank says how well: a ticket is no list of things that must occur.
# Words of other languages stand in the keywords alone, as they are spelt.
_SEARCH = """
    SELECT asked.number::int, found.title, found.path, found.excerpt, found.categories
      FROM unnest($2::text[]) WITH ORDINALITY AS asked (text, number)
     CROSS JOIN LATERAL (
        SELECT replace(plainto_tsquery('english', asked.text)::text, ' & ', ' | ')::tsquery
            || replace(plainto_tsquery('simple', asked.text)::text, ' & ', ' | ')::tsquery AS any_of
     ) AS query
     CROSS JOIN LATERAL (
        SELECT title, path, excerpt, categories,
               ts_rank('{0.0, 0.1, 0.5, 1.0}', words, any_of, 1) AS rank
          FROM kb_article
         WHERE folder = $1 AND words @@ any_of
         ORDER BY rank DESC, path
         LIMIT $3
     ) AS found
     ORDER BY asked.number, found.rank DESC, found.path
"""

_WHOLE = "SELECT title, body FROM kb_article WHERE folder = $1 AND path = $2"

_Look = tuple[tuple[str, int, int], ...]


class KnowledgeBase:
    """One folder, as this process last saw it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._seen: _Look | None = None
        self._looked_at = self._told_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._search: Batcher[str, tuple[Article, ...]] = Batcher(self._find, limit=64)

    async def search(self, query: str) -> tuple[Article, ...]:
        """The articles that have most to do with a text; none when no word occurs in any."""
        await self._is_told()
        return await self._search(query)

    async def article(self, path: str) -> tuple[str, str] | None:
        """Title and text of the article at a path below the folder, as it was last seen."""
        await self._is_told()
        row = await hot().fetchrow(_WHOLE, str(self._folder), path)
        return None if row is None else (row["title"], row["body"])

    async def _is_told(self) -> None:
        """Return once the table has been brought to the folder, lately."""
        if time.monotonic() - self._looked_at > _LOOK_S:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            await asyncio.shield(self._looking)

    async def _find(self, queries: Sequence[str]) -> Sequence[tuple[Article, ...] | BaseException]:
        found: list[list[Article]] = [[] for _ in queries]
        for row in await hot().fetch(_SEARCH, str(self._folder), list(queries), FOUND):
            categories = tuple(each.strip() for each in row[4].split(",") if each.strip())
            found[row[0] - 1].append(
                Article(title=row[1], path=row[2], excerpt=row[3], categories=categories)
            )
        return [tuple(each) for each in found]

    async def _look(self) -> None:
        """Bring the table to what the folder has, when that has changed."""
        now = time.monotonic()
        seen = await asyncio.to_thread(_listing, self._folder)
        if seen != self._seen or now - self._told_at > _TOLD_S:
            files = await asyncio.to_thread(_read, self._folder, seen)
            await self._tell(files)
            self._seen, self._told_at = seen, now
        self._looked_at = now

    async def _tell(self, files: Sequence[KbArticle]) -> None:
        folder = str(self._folder)
        async with hot().acquire() as connection, connection.transaction():
            await connection.execute(_LOCK, folder)
            await connection.execute(
                _PUT,
                folder,
                [each.path for each in files],
                [each.digest for each in files],
                [each.title for each in files],
                [each.excerpt for each in files],
                [each.keywords for each in files],
                [each.categories for each in files],
                [each.body for each in files],
            )
            await connection.execute(_DROP, folder, [each.path for each in files])


_bases: dict[Path, KnowledgeBase] = {}


def base() -> KnowledgeBase:
    """The one of the folder that the settings name."""
    folder = settings().kb.folder
    return _bases.setdefault(folder, KnowledgeBase(folder))


@tool("kb.read", effect=Effect.READ, timeout_s=10)
async def read(args: Query, call: Call) -> Articles:  # noqa: ARG001  # every tool takes its call
    """Find the articles that have most to do with a text."""
    return Articles(articles=await base().search(one_line(args.query)))


def _listing(folder: Path) -> _Look:
    """Every article with its size and the time of its last change, by path."""
    found: list[tuple[str, int, int]] = []
    for path in sorted(folder.rglob("*.md"))[:MOST_ARTICLES]:
        try:
            facts = path.stat()
        except OSError:  # removed meanwhile
            continue
        if path.is_file():
            found.append((path.relative_to(folder).as_posix(), facts.st_mtime_ns, facts.st_size))
    return tuple(found)


def _read(folder: Path, seen: _Look) -> list[KbArticle]:
    files = []
    for name, _, size in seen:
        try:
            if size > LARGEST_BYTES:
                raise ValueError(f"has more than {LARGEST_BYTES:,} bytes")
            content = (folder / name).read_bytes()
            files.append(_article(folder, name, content))
        except (OSError, ValueError) as error:  # UnicodeDecodeError too
            log.warning("kb.article_skipped", path=name, error=str(error))
    return files


def _article(folder: Path, name: str, content: bytes) -> KbArticle:
    text = plain(content.decode("utf-8-sig"), keeps="\n\t")
    title = _TITLE.search(text)
    keywords, categories = _KEYWORDS.search(text), _CATEGORIES.search(text)
    body = _CATEGORIES.sub("", _KEYWORDS.sub("", _TITLE.sub("", text, count=1))).strip()
    paragraphs = (one_line(each) for each in re.split(r"\n\s*\n", body))
    first = next((each for each in paragraphs if each and not each.startswith("#")), "")
    return KbArticle(
        folder=str(folder),
        path=name,
        digest=hashlib.sha256(content).digest(),
        title=one_line(title.group(1)) if title else Path(name).stem.replace("-", " "),
        excerpt=first[:EXCERPT_CHARS],
        keywords=one_line(keywords.group(1)) if keywords else "",
        categories=one_line(categories.group(1)) if categories else "",
        body=body,
    )
