"""Admission: both ways in end here, and for one (tenant, key) one run comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from models.autonomy import Autonomy
from models.batcher import Batcher
from models.contract import Offer, Offers
from models.database import hot
from models.identity import uuid7
from models.request import InvalidInput, KeyReused, Malformed, Request, UnknownPipeline
from models.request_key import FINGERPRINT_VERSION, canonical, fingerprint

_SHOWN = 3
"""How many faults of an input one refusal lists."""
_TOLD_CHARS = 500


@dataclass(frozen=True, slots=True)
class Receipt:
    """The run that fulfils a request; `replayed` when the key was known already."""

    run_id: UUID
    replayed: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A checked request, with the run it becomes if its key is new."""

    request: Request
    run_id: UUID
    fingerprint: bytes
    offer: Offer
    input: bytes


class Admission:
    """One process's door for requests: checks each, admits them by the batch."""

    def __init__(self, *, patience_s: float) -> None:
        self.offers = Offers()
        self._admit = Batcher(_admit, patience_s=patience_s)

    async def __call__(self, request: Request) -> Receipt:
        """Accept a request once: the same key gives the same run, however often it comes.

        Raises:
            Refused: See its subclasses; nothing was stored.
            DatabaseAway: It may or may not be stored. The same request may be sent again.
        """
        request.check()
        offer = await self.offers.find(request.pipeline)
        if offer is None:
            known = ", ".join(self.offers.names()) or "none yet: is a worker running?"
            raise UnknownPipeline(
                f"no pipeline is named {request.pipeline!r}; known: {known}", pointer="/pipeline"
            )
        try:
            mark = fingerprint(
                request.pipeline, request.subject, request.input, dry_run=request.dry_run
            )
        except ValueError as error:
            raise Malformed(str(error), pointer="/input") from error
        check_input(request.input, offer)
        candidate = _Candidate(request, uuid7(), mark, offer, orjson.dumps(request.input))
        winner, replayed = await self._admit(candidate)
        if replayed and winner.fingerprint != candidate.fingerprint:
            raise KeyReused(await _difference(request, winner.run_id), pointer="/idempotency_key")
        return Receipt(winner.run_id, replayed)


@dataclass(frozen=True, slots=True)
class _Winner:
    run_id: UUID
    fingerprint: bytes


_ADMIT = """
    WITH asked AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[],
                             $6::int[], $7::json[], $8::text[], $9::json[], $10::smallint[],
                             $12::text[])
            WITH ORDINALITY AS a(run_id, tenant, key, fingerprint, pipeline, version,
                                 input, subject, budget, priority, autonomy, place)),
    fresh AS (
        INSERT INTO request_key (tenant, key, fingerprint, fingerprint_version, run_id)
        SELECT tenant, key, fingerprint, $11, run_id FROM asked ORDER BY tenant, key
        ON CONFLICT (tenant, key) DO NOTHING
        RETURNING run_id)
    INSERT INTO run (id, tenant, key, pipeline, version, input, subject, budget, priority,
                     autonomy)
    SELECT run_id, tenant, key, pipeline, version, input, subject, budget, priority, autonomy
      FROM asked JOIN fresh USING (run_id)
     ORDER BY place
    RETURNING id
"""
"""Two callers of one key meet on its unique index: the second waits for the first's commit and
inserts nothing. ORDER BY, so that two batches with crossed keys cannot deadlock."""

_WINNERS = """
    SELECT k.tenant, k.key, k.run_id, k.fingerprint
      FROM request_key k JOIN unnest($1::text[], $2::text[]) AS a(tenant, key) USING (tenant, key)
"""
"""A statement of its own: inside the INSERT's snapshot a winner just committed is not visible."""


async def _admit(candidates: Sequence[_Candidate]) -> list[tuple[_Winner, bool]]:
    # One key twice in one batch: the first stands for both, and the insert never meets itself.
    firsts: dict[tuple[str, str], _Candidate] = {}
    for each in candidates:
        firsts.setdefault((each.request.tenant, each.request.key), each)
    asked = list(firsts.values())
    async with hot().acquire() as connection:
        inserted = {row[0] for row in await connection.fetch(_ADMIT, *_columns(asked))}
        winners = {
            key: _Winner(each.run_id, each.fingerprint)
            for key, each in firsts.items()
            if each.run_id in inserted
        }
        late = [key for key in firsts if key not in winners]
        if late:
            rows = await connection.fetch(_WINNERS, *map(list, zip(*late, strict=True)))
            winners |= {
                (r["tenant"], r["key"]): _Winner(r["run_id"], r["fingerprint"]) for r in rows
            }
    # A proposed run id that won is ours, also when it won in a commit whose answer was lost.
    return [
        (winner, winner.run_id != each.run_id)
        for each in candidates
        for winner in (winners[each.request.tenant, each.request.key],)
    ]


def _columns(asked: Sequence[_Candidate]) -> list[Any]:
    return [
        [each.run_id for each in asked],
        [each.request.tenant for each in asked],
        [each.request.key for each in asked],
        [each.fingerprint for each in asked],
        [each.offer.name for each in asked],
        [each.offer.version for each in asked],
        [each.input for each in asked],
        [each.request.subject for each in asked],
        [each.offer.budget for each in asked],
        [each.request.priority for each in asked],
        FINGERPRINT_VERSION,
        [Autonomy.OBSERVE if each.request.dry_run else None for each in asked],
    ]


def check_input(value: Any, offer: Offer) -> None:
    """Refuse what the pipeline's contract does not take.

    Raises:
        InvalidInput: Names the first faults by JSON pointer.
    """
    if offer.check.is_valid(value):
        return
    faults = []
    for fault in offer.check.iter_errors(value):
        pointer = "/input" + "".join(f"/{part}" for part in fault.instance_path)
        faults.append((pointer, fault.message))
        if len(faults) == _SHOWN:
            break
    told = "; ".join(f"{pointer}: {message[:200]}" for pointer, message in faults)
    raise InvalidInput(f"{offer.name} does not take this input: {told}", pointer=faults[0][0])


async def _difference(request: Request, run_id: UUID) -> str:
    row = await hot().fetchrow(
        "SELECT pipeline, subject, input, autonomy IS NOT NULL AS dry_run FROM run WHERE id = $1",
        run_id,
    )
    if row is None:
        return "this idempotency key was used for another request, whose payload is purged"
    names = ("pipeline", "subject", "dry_run")
    differing = [name for name in names if row[name] != getattr(request, name)]
    earlier, now = orjson.loads(row["input"]), request.input
    if isinstance(earlier, dict) and isinstance(now, dict):
        fields = sorted(earlier.keys() | now.keys())
        differing += [f"input.{n}" for n in fields if _one_of(earlier, n) != _one_of(now, n)]
    elif canonical(earlier) != canonical(now):
        differing.append("input")
    told = ", ".join(differing)[:_TOLD_CHARS] or "one of them asked for a fork of another run"
    return f"this idempotency key was used for another request; what differs: {told}"


def _one_of(fields: dict[str, Any], name: str) -> bytes | None:
    """As the fingerprint sees it: for Python, True is 1."""
    return canonical(fields[name]) if name in fields else None
