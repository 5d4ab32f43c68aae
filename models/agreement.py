"""Agreement: how far what a pipeline would do is what people did, and what was taken back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, DateTime, Text
from sqlmodel import Field, SQLModel

from config.policy_autonomy import Bar
from models.columns import word
from models.database import hot
from models.review import ReviewKind
from models.shadow import SHADOW
from models.share import wilson


def _count() -> Any:
    return Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))


class AgreementRow(SQLModel, table=True):
    """Counts of a day whose runs are purged: verdicts outlive the payload they were about."""

    __tablename__ = "agreement"

    pipeline: str = Field(primary_key=True, sa_type=Text)
    tenant: str = Field(primary_key=True, sa_type=Text)
    tool: str = Field(primary_key=True, sa_type=Text)
    asked: ReviewKind = Field(primary_key=True, sa_type=word(ReviewKind))
    """Writes stand with the proposals."""
    day: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    """Its first moment, in UTC."""
    approved: int = _count()
    edited: int = _count()
    rejected: int = _count()
    expired: int = _count()
    writes: int = _count()
    undone: int = _count()


class Tally(NamedTuple):
    """Verdicts on one tool's calls, and what became of those that were made."""

    tool: str
    approved: int = 0
    """Just as it was."""
    edited: int = 0
    rejected: int = 0
    expired: int = 0
    """Nobody said anything: counted nowhere."""
    writes: int = 0
    undone: int = 0

    @property
    def decided(self) -> int:
        return self.approved + self.edited + self.rejected

    def plus(self, other: "Tally") -> "Tally":
        counts = (mine + more for mine, more in zip(self[1:], other[1:], strict=True))
        return Tally(self.tool, *counts)


class Agreement(NamedTuple):
    """What a pipeline has shown since its level was last changed."""

    tools: Sequence[Tally]
    answers: Tally
    """To questions of which the pipeline itself was not sure; they count for nothing below."""

    @property
    def whole(self) -> Tally:
        total = Tally("all")
        for each in self.tools:
            total = total.plus(each)
        return total

    @property
    def precision(self) -> float:
        """Of what people decided, the share that they approved just as it was."""
        return self.whole.approved / max(1, self.whole.decided)

    @property
    def reversals(self) -> float:
        return self.whole.undone / max(1, self.whole.writes)

    def told(self) -> str:
        """In a sentence, for the audit and whoever looks."""
        whole = self.whole
        low, high = wilson(whole.approved, whole.decided)
        return (
            f"{whole.approved:,} of {whole.decided:,} decisions approved as it was"
            f" ({self.precision:.1%}, 95 % interval {low:.1%} to {high:.1%}),"
            f" {whole.undone:,} of {whole.writes:,} writes undone ({self.reversals:.1%})"
        )

    def lacks(self, bar: Bar) -> list[str]:
        """What is missing to the bar, in words; nothing when it is reached."""
        whole, told = self.whole, []
        if whole.decided < bar.fewest:
            more = bar.fewest - whole.decided
            told.append(
                f"{whole.decided:,} decisions where {bar.fewest:,} are asked ({more:,} more)"
            )
        if whole.decided and self.precision < bar.precision:
            told.append(f"a precision of {self.precision:.2%} where {bar.precision:.2%} is asked")
        if self.reversals > bar.reversals:
            told.append(f"{self.reversals:.2%} of its writes undone where {bar.reversals:.2%} may")
        return told


_VERDICTS = """
    count(*) FILTER (WHERE verdict = 'approved'), count(*) FILTER (WHERE verdict = 'edited'),
    count(*) FILTER (WHERE verdict = 'rejected'), count(*) FILTER (WHERE verdict = 'expired')
"""
_ASKED = "('proposal', 'approval', 'uncertain')"
_WRITE = """
    e.kind = 'call' AND e.effect <> 'read' AND e.state IN ('settled', 'undone')
    AND e.step NOT LIKE 'undo/%'
    AND e.tool IS NOT NULL AND e.settled_at IS NOT NULL AND e.copied_from IS NULL
"""
"""What was made. Taking one back is none of them: it would make reversals look rarer;
and what a fork has copied was made by its source."""

_MEASURE = f"""
    WITH said AS (
        SELECT coalesce(e.tool, '') AS tool, v.kind = 'uncertain' AS unsure, {_VERDICTS}, 0, 0
          FROM review v JOIN run ON run.id = v.run_id
          LEFT JOIN ledger_entry e ON (e.run_id, e.step) = (v.run_id, v.step)
         WHERE run.pipeline = $1 AND ($2::text IS NULL OR run.tenant = $2)
           AND run.tenant <> '{SHADOW}' AND v.kind IN {_ASKED}
           AND v.decided_at > coalesce($3::timestamptz, '-infinity')
         GROUP BY 1, 2),
    done AS (
        SELECT e.tool, false, 0, 0, 0, 0, count(*), count(*) FILTER (WHERE e.state = 'undone')
          FROM ledger_entry e JOIN run ON run.id = e.run_id
         WHERE run.pipeline = $1 AND ($2::text IS NULL OR run.tenant = $2)
           AND run.tenant <> '{SHADOW}' AND {_WRITE}
           AND e.settled_at > coalesce($3::timestamptz, '-infinity')
         GROUP BY 1),
    kept AS (
        SELECT tool, asked = 'uncertain', sum(approved)::bigint, sum(edited)::bigint,
               sum(rejected)::bigint, sum(expired)::bigint, sum(writes)::bigint,
               sum(undone)::bigint
          FROM agreement
         WHERE pipeline = $1 AND ($2::text IS NULL OR tenant = $2)
           AND day >= coalesce($3::timestamptz, '-infinity')
         GROUP BY 1, 2)
    SELECT * FROM said UNION ALL SELECT * FROM done UNION ALL SELECT * FROM kept
"""  # noqa: S608  # composed of constants
"""Of the day on which the level changed, what is purged is not counted: nobody knows its hour."""

KEEP = f"""
    counted AS (
        SELECT d.pipeline, d.tenant, coalesce(e.tool, '') AS tool, v.kind AS asked,
               date_trunc('day', v.decided_at, 'UTC') AS day, {_VERDICTS}, 0 AS writes, 0 AS undone
          FROM asked v JOIN dead d ON d.id = v.run_id
          LEFT JOIN steps e ON (e.run_id, e.step) = (v.run_id, v.step)
         WHERE v.kind IN {_ASKED} AND v.decided_at IS NOT NULL
         GROUP BY 1, 2, 3, 4, 5
        UNION ALL
        SELECT d.pipeline, d.tenant, e.tool, 'proposal', date_trunc('day', e.settled_at, 'UTC'),
               0, 0, 0, 0, count(*), count(*) FILTER (WHERE e.state = 'undone')
          FROM steps e JOIN dead d ON d.id = e.run_id WHERE {_WRITE}
         GROUP BY 1, 2, 3, 5),
    kept AS (
        INSERT INTO agreement AS a
        SELECT pipeline, tenant, tool, asked, day, sum(approved), sum(edited), sum(rejected),
               sum(expired), sum(writes), sum(undone)
          FROM counted AS c(pipeline, tenant, tool, asked, day, approved, edited, rejected,
                            expired, writes, undone)
         WHERE tenant <> '{SHADOW}'
         GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (pipeline, tenant, tool, asked, day) DO UPDATE
           SET approved = a.approved + EXCLUDED.approved, edited = a.edited + EXCLUDED.edited,
               rejected = a.rejected + EXCLUDED.rejected, expired = a.expired + EXCLUDED.expired,
               writes = a.writes + EXCLUDED.writes, undone = a.undone + EXCLUDED.undone)
"""  # noqa: S608  # composed of constants
"""Of runs that are being purged (`dead`, their `steps` and what they `asked`), in the same
statement: counted here or there, never in both, never in neither. In the order of its key, so that
two purgers cannot deadlock."""


async def measure(
    pipeline: str, tenant: str | None, since: datetime | None, connection: Any = None
) -> Agreement:
    """What people said of a pipeline's proposals and approvals since a moment, and what was undone.

    `tenant` None: of all of them. `since` None: of all that is known.
    """
    found: dict[str, Tally] = {}
    answers = Tally("answers")
    for tool, unsure, *counts in await (connection or hot()).fetch(
        _MEASURE, pipeline, tenant, since
    ):
        if unsure:
            answers = answers.plus(Tally("", *counts))
        else:
            found[tool] = found.get(tool, Tally(tool)).plus(Tally("", *counts))
    return Agreement([found[each] for each in sorted(found)], answers)
