"""What a run has proposed, as its client sees it."""

from typing import Any
from uuid import UUID

from models.proposal import became
from producer.redacted import said, shown


async def proposals_of(run: UUID) -> list[dict[str, Any]]:
    """Each with its arguments as they are to be used, its state, and what carries it out."""
    return [_view(row) for row in await became(run)]


def _view(row: Any) -> dict[str, Any]:
    told = {
        "review": str(row["id"]),
        "step": row["step"],
        "tool": row["tool"],
        "state": row["state"],
        "arguments": shown(row["answer"] or row["proposal"]),
        "question": said(row["question"]),
        "note": said(row["note"]),
        "decide_by": row["decide_by"],
    }
    if row["run_id"] is not None:
        told |= {
            "idempotency_key": row["key"],
            "run_id": str(row["run_id"]),
            "status": row["status"],
            "stop_reason": row["stop_reason"],
        }
    return told
