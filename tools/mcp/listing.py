"""A listing: what a server says that it offers."""

from collections import Counter

import structlog
from mcp.client.session import ClientSession
from mcp_types import PaginatedRequestParams, Tool
from pydantic import ValidationError

from tools.mcp.pin import Definition

log = structlog.get_logger()

_MOST_PAGES, _MOST_TOOLS = 50, 1000


async def offered(session: ClientSession, server: str) -> dict[str, Definition]:
    """A server's tools by name. One that it lists twice, or unreadably, it does not offer."""
    found: list[Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        found += page.tools
        cursor = page.next_cursor
        if cursor is None or len(found) > _MOST_TOOLS:
            break
    times = Counter(each.name for each in found)
    return {
        each.name: read
        for each in found[:_MOST_TOOLS]
        if times[each.name] == 1 and (read := _read(each, server)) is not None
    }


def _read(listed: Tool, server: str) -> Definition | None:
    hints = listed.annotations
    try:
        read = Definition(
            name=listed.name,
            title=listed.title,
            description=listed.description,
            input=listed.input_schema,
            output=listed.output_schema,
            annotations=hints and hints.model_dump(by_alias=True, exclude_none=True),
        )
        read.sha256()
    except (ValidationError, ValueError) as error:
        log.warning("mcp.tool_unreadable", server=server, why=str(error)[:200])
        return None
    return read
