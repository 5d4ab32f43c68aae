"""Which reviews are meant: by id, or all open ones of a kind and a category."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.database import hot
from models.review import ReviewKind

_TOLD = r"""
     CROSS JOIN LATERAL (
         SELECT replace(r.proposal::text, '\u0000', '\ufffd')::json AS proposal,
                replace(run.input::text, '\u0000', '\ufffd')::json AS input) AS told
"""
"""A NUL in one text from outside would make PostgreSQL refuse the whole list."""

_ABOUT = """
    CASE WHEN r.kind IN ('approval', 'proposal')
         THEN (SELECT tool FROM ledger_entry e WHERE (e.run_id, e.step) = (r.run_id, r.step))
         ELSE coalesce(told.proposal->>'category', '') END
"""
"""What a review is grouped by: the tool that is to be used, or else the answer's category."""

_OPEN = f"""
    SELECT r.id, r.run_id, r.tenant, r.kind, r.question, r.proposal, r.asked_at, r.decide_by,
           {_ABOUT} AS category,
           told.input->>'id' AS ticket, told.input->>'subject' AS subject,
           told.input->>'text' AS text, told.input->>'autonomy' AS autonomy
      FROM review r JOIN run ON run.id = r.run_id {_TOLD}
     WHERE r.verdict IS NULL
       AND ($1::text IS NULL OR r.kind = $1)
       AND ($2::text IS NULL OR {_ABOUT} = $2)
       AND ($3::text IS NULL OR run.pipeline = $3)
       AND ($4::uuid[] IS NULL OR r.id = ANY($4))
     ORDER BY r.asked_at, r.id LIMIT $5
"""  # noqa: S608  # constants

_GROUPS = f"""
    SELECT r.kind, {_ABOUT} AS category, count(*) AS reviews,
           min(r.asked_at) AS oldest,
           (array_agg(r.id ORDER BY r.asked_at, r.id))[1:3] AS samples
      FROM review r JOIN run ON run.id = r.run_id {_TOLD}
     WHERE r.verdict IS NULL
       AND ($1::text IS NULL OR r.kind = $1)
       AND ($2::text IS NULL OR {_ABOUT} = $2)
       AND ($3::text IS NULL OR run.pipeline = $3)
     GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""  # noqa: S608  # constants

_PROPOSED = """
    SELECT count(*) AS proposals, count(*) FILTER (WHERE verdict <> 'rejected') AS wanted
      FROM review WHERE id = ANY($1::uuid[]) AND kind = 'proposal'
"""
_LIVING = "SELECT count(*) FROM worker WHERE last_seen > now() - interval '15 s'"


@dataclass(frozen=True)
class Selection:
    """Filters on open reviews; None lets everything through."""

    kind: ReviewKind | None = None
    category: str | None = None
    pipeline: str | None = None

    async def reviews(self, limit: int | None = None, ids: list[UUID] | None = None) -> list[Any]:
        """Oldest first."""
        rows: list[Any] = await hot().fetch(
            _OPEN, self.kind, self.category, self.pipeline, ids, limit
        )
        return rows

    async def groups(self) -> list[Any]:
        """Kind and category with their count, the largest first, and three of each."""
        rows: list[Any] = await hot().fetch(_GROUPS, self.kind, self.category, self.pipeline)
        return rows


async def somebody_works() -> bool:
    return bool(await hot().fetchval(_LIVING))


async def what_follows(decided: list[UUID]) -> str:
    """Runs wait for answers; what was proposed is made by a request of its own, or not at all."""
    row = await hot().fetchrow(_PROPOSED, decided)
    if row["proposals"] < len(decided):
        return "their runs go on"
    if not row["wanted"]:
        return "nothing comes of what was proposed"
    return "each is made by a request of its own: `sluice runs --pipeline execute-proposal`"
