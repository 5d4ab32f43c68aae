"""A pipeline around the tools of a lock, for worker processes of the tests."""

import os

from pydantic import BaseModel

from tools.mcp import mcp_tools
from worker.flow import Flow
from worker.labels.binding import fixed
from worker.pipeline import pipeline

TOOLS = mcp_tools(os.environ["SLUICE_TEST_MCP_LOCK"])


class Note(BaseModel, extra="forbid"):
    text: str


class Taken(BaseModel, extra="forbid"):
    id: int
    text: str


@pipeline("mcp-note", version=1, tools=TOOLS.values())
async def note(flow: Flow, given: Note) -> Taken:
    taken = await flow.call("note", TOOLS["lab.note"], text=fixed(given.text))
    return Taken.model_validate(taken.model_dump())


PIPELINES = {(note.name, note.version): note}
