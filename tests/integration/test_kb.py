"""The knowledge base: a folder of Markdown, and what a search finds in it."""

import asyncio
import time
from uuid import uuid4

import pytest

from config.settings import settings
from models.database import hot
from tests.conftest import document
from tools import kb
from tools.tool import Call

RETURNS = (
    "# Sending things back\n\nPrint the label and post it.\n\nMore.\n\nKeywords: Rücksendung\n"
)
PARCEL = "# Where is my parcel?\n\nLook at the tracking page.\n\nCouriers scan parcels at night.\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kb, "_LOOK_S", 0.0)
    (tmp_path / "delivery").mkdir()
    (tmp_path / "returns.md").write_text(RETURNS)
    (tmp_path / "delivery" / "parcel.md").write_text(PARCEL)
    (tmp_path / "notes.txt").write_text("parcel parcel parcel")
    return tmp_path


@pytest.fixture
def base(database, folder):
    return kb.KnowledgeBase(folder)


async def paths(base, query):
    return [each.path for each in await base.search(query)]


async def test_the_article_that_has_most_to_do_with_a_text_comes_first(base):
    found = await base.search("Hello, my parcel has not come, the tracking says nothing")

    assert found[0] == kb.Article(
        title="Where is my parcel?", path="delivery/parcel.md", excerpt="Look at the tracking page."
    )


async def test_a_keyword_of_another_language_finds_an_english_article(base):
    assert await paths(base, "Wie geht das mit der Rücksendung?") == ["returns.md"]


@pytest.mark.parametrize(
    "query", ["", "   ", "🙂", "the and of", "xyzzy", "' & | ! ( :*", "a\\b'c"]
)
async def test_a_text_without_a_word_of_any_article_finds_nothing_and_breaks_nothing(base, query):
    assert await paths(base, query) == []


async def test_files_that_change_come_or_go_are_seen_at_the_next_search(base, folder):
    await base.search("parcel")

    (folder / "returns.md").unlink()
    (folder / "delivery" / "parcel.md").write_text("# Parcels\n\nCome by bicycle now.\n")
    (folder / "tea.md").write_text("# Tea\n\nIs served at four.\n")

    assert [each.excerpt for each in await base.search("bicycle")] == ["Come by bicycle now."]
    assert await paths(base, "tea") == ["tea.md"]
    assert await paths(base, "label") == []


async def test_an_article_that_cannot_be_read_does_not_take_the_others_along(base, folder):
    (folder / "latin.md").write_bytes("# Größe\n".encode("cp1252"))
    (folder / "huge.md").write_text("parcel " * kb.LARGEST_BYTES)

    assert await paths(base, "parcel") == ["delivery/parcel.md"]


async def test_a_folder_that_is_not_there_is_an_empty_one(database, tmp_path):
    assert await paths(kb.KnowledgeBase(tmp_path / "nowhere"), "parcel") == []


async def test_two_folders_do_not_see_each_other(base, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "tea.md").write_text("# Tea and parcels\n\nNone.\n")

    assert await paths(kb.KnowledgeBase(elsewhere), "parcel") == ["tea.md"]
    assert await paths(base, "parcel tea") == ["delivery/parcel.md"]


async def test_workers_that_see_a_change_at_once_write_it_once_and_none_fails(database, folder):
    bases = [kb.KnowledgeBase(folder) for _ in range(8)]

    found = await asyncio.gather(*(paths(base, "label") for base in bases))

    assert found == [["returns.md"]] * 8
    count = "SELECT count(*) FROM kb_article WHERE folder = $1"
    assert await hot().fetchval(count, str(folder)) == 2


async def test_the_tool_searches_the_folder_of_the_settings(database):
    call = Call(run_id=uuid4(), tenant="acme", step="s", key="k", deadline=time.monotonic() + 9)

    found = await kb.read.run(kb.Query(query="I want to pause the monthly box"), call)

    assert found.articles[0].path == "the-monthly-box.md"
    assert len(found.articles) <= kb.FOUND
    assert settings().kb.folder.is_dir()
    assert document(found.model_dump_json().encode())["articles"]
