"""Tools of MCP servers, pinned in a lock file.

Read in this order: lock, pin, effect, canonical, schema; then how they are used: imported,
servers, server, link, listing, outcome; and how bytes leave: leaving, stdio, wire.
"""

from tools.mcp.imported import mcp_tools
from tools.mcp.pin import LockError
from tools.mcp.servers import McpMissing, close

__all__ = ["LockError", "McpMissing", "close", "mcp_tools"]
