"""A fork: a new run that begins with a part of another one's record, and does the rest anew."""

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jsonschema_rs
import orjson

from models.admission import Receipt, check_input
from models.audit import Act, append
from models.contract import Offer
from models.database import hot
from models.fork_point import NAMED, Unforkable, first_anew, listed, written_from
from models.identity import uuid7
from models.ledger import UNDO
from models.request import KeyReused, Malformed, Refused, Request
from models.request_key import FINGERPRINT_VERSION, canonical
from models.tombstone import tombstone

_LARGEST = 2**31 - 1


class NoSuchRun(Refused):
    code = "unknown"


class WritesAgain(Refused):
    """The fork would write what its source has written, and nobody has said that it may."""

    code = "writes_again"


@dataclass(frozen=True, slots=True)
class Fork:
    """What is asked for: the record of `source` up to `step`, in a run of its own."""

    source: UUID
    step: str
    """The first one that is made anew."""
    key: Any
    who: str
    tenant: str | None = None
    """Whose run it must be; None: whosever it is."""
    version: int | None = None
    """None: the source's."""
    input: Any = None
    """None: the source's."""
    writes_again: bool = False
    """What the source has written from `step` on may be written once more."""

    @property
    def fingerprint(self) -> bytes:
        asked = ["fork", str(self.source), self.step, self.version, self.input]
        try:
            return hashlib.sha256(canonical(asked)).digest()
        except ValueError as error:
            raise Malformed(str(error), pointer="/input") from error


_SOURCE = """
    SELECT id, tenant, pipeline, version, input, subject, priority, status, autonomy FROM run
     WHERE id = $1 AND ($2::text IS NULL OR tenant = $2) FOR SHARE
"""
"""Whoever purges it or settles a doubt of it waits, or passes it over, until the fork stands."""
_ENTRIES = """
    SELECT step, number, kind, effect, state, error FROM ledger_entry
     WHERE run_id = $1 ORDER BY number, step
"""
_KNOWN = "SELECT run_id, fingerprint FROM request_key WHERE tenant = $1 AND key = $2"
_CONTRACT = "SELECT input_schema, budget FROM contract WHERE name = $1 AND version = $2"
_KEY = """
    INSERT INTO request_key (tenant, key, fingerprint, fingerprint_version, run_id)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, key) DO NOTHING RETURNING run_id
"""
_RUN = """
    INSERT INTO run (id, tenant, key, pipeline, version, input, subject, budget, priority,
                     forked_from, autonomy)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
"""A fork of a dry run is one as well."""
_COPY = f"""
    INSERT INTO ledger_entry (run_id, step, number, kind, tool, effect, args, args_hash, state,
           attempt, tries, token, spent_usd, result, error, labels, policy, created_at,
           settled_at, copied_from)
    SELECT $2, step, number, kind, tool, effect, args, args_hash, state, 0, 1,
           gen_random_uuid(), 0 AS spent_usd, result, error, labels, policy, created_at,
           settled_at, coalesce(copied_from, run_id)
      FROM ledger_entry
     WHERE run_id = $1 AND number < $3 AND state IN ('settled', 'rejected', 'undone')
       AND NOT starts_with(step, '{UNDO}')
 RETURNING step
"""  # noqa: S608  # composed of constants
"""Without money, tokens and deadlines: those are the source's. Its undos stay with it, for a
roll-back of the fork takes back the fork's own writes alone."""


async def fork(asked: Fork) -> Receipt:
    """Begin a run with the settled steps of another before `asked.step`, all in one transaction.

    The same key and the same fork give the same run back, whatever has become of its source.

    Raises:
        NoSuchRun: There is none of this id, or it is another tenant's.
        Unforkable: It is not over, or purged, or in doubt, or has no such step.
        WritesAgain: Names what the source has written from that step on.
        KeyReused, UnknownPipeline, InvalidInput, Malformed: As for any request.
    """
    mark = asked.fingerprint
    async with hot().acquire() as connection, connection.transaction():
        source = await connection.fetchrow(_SOURCE, asked.source, asked.tenant)
        there = source or await tombstone(asked.source, asked.tenant)
        if there is None:
            raise NoSuchRun("no run of yours has this id")
        tenant = there["tenant"]
        Request(tenant, asked.key, there["pipeline"], asked.input).check()
        known = await connection.fetchrow(_KNOWN, tenant, asked.key)
        if known is not None:
            return _again(known, mark)
        if source is None:
            raise Unforkable("the payload of this run was purged: nothing is left to go on from")
        made = await _begin(connection, asked, mark, source)
        if made is not None:
            return Receipt(made, replayed=False)
    known = await hot().fetchrow(_KNOWN, tenant, asked.key)  # of whoever came first just now
    return _again(known, mark)


def _again(known: Any, mark: bytes) -> Receipt:
    if known["fingerprint"] != mark:
        told = "this idempotency key was used for another request or another fork"
        raise KeyReused(told, pointer="/idempotency_key")
    return Receipt(known["run_id"], replayed=True)


async def _begin(connection: Any, asked: Fork, mark: bytes, source: Any) -> UUID | None:
    """Write key, run, record and audit; None when somebody else has just used the key."""
    entries = await connection.fetch(_ENTRIES, source["id"])
    first = first_anew(asked.step, source["status"], entries)
    again = written_from(entries, first["number"])
    if again and not asked.writes_again:
        raise WritesAgain(
            f"from {asked.step!r} on, this run has written already: {listed(again)}. The fork would"
            " write that once more, under keys of its own: say so with --writes-again"
            ' ("writes_again": true) if it may'
        )
    version = source["version"] if asked.version is None else asked.version
    given = source["input"] if asked.input is None else orjson.dumps(asked.input)
    budget = await _accepted(connection, source["pipeline"], version, given)
    run, tenant = uuid7(), source["tenant"]
    row = (tenant, asked.key, mark, FINGERPRINT_VERSION, run)
    if await connection.fetchval(_KEY, *row) is None:
        return None
    await connection.execute(
        _RUN, run, tenant, asked.key, source["pipeline"], version, given, source["subject"],
        budget, source["priority"], source["id"], source["autonomy"],
    )  # fmt: skip
    copied = await connection.fetch(_COPY, source["id"], run, first["number"])
    about = {
        "run": str(run),
        "of": str(source["id"]),
        "from": asked.step,
        "version": version,
        "copied": len(copied),
        "writes_again": again[:NAMED],
        "other_input": asked.input is not None,
    }
    await append(connection, who=asked.who, act=Act.FORK, about=about)
    return run


async def _accepted(connection: Any, pipeline: str, version: int, given: bytes) -> bytes:
    """The budget of a version, once its contract has taken the input."""
    known = 0 < version <= _LARGEST
    row = await connection.fetchrow(_CONTRACT, pipeline, version) if known else None
    if row is None:
        raise Unforkable(f"no worker has ever published {pipeline} v{version}", pointer="/version")
    check = jsonschema_rs.validator_for(orjson.loads(row["input_schema"]))
    check_input(orjson.loads(given), Offer(pipeline, version, row["budget"], check))
    budget: bytes = row["budget"]
    return budget
