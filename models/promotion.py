"""A promotion: a pipeline may do more by itself, on the record of what people did."""

from datetime import datetime
from typing import Any, NamedTuple

from config.policy_autonomy import Bar, Independence
from models import autonomy
from models.agreement import Agreement, measure
from models.autonomy import DISPOSES, EVERYBODY, Autonomy, Scopes
from models.scope import known, readable

ON_RECORD = "promoted on its record"


class NotEarned(Exception):
    """The level is not given; the sentence says what is missing."""


class Case(NamedTuple):
    """What speaks for a promotion, and what against it."""

    stands: Autonomy
    since: datetime | None
    found: Agreement
    bar: Bar | None
    against: list[str]


async def known_scope(tenant: str, pipeline: str) -> None:
    """Refuse a misspelt one: nobody would notice that its level holds for nothing.

    Raises:
        ValueError: There is no such pipeline or tenant, or levels do not hold for it.
    """
    if pipeline == DISPOSES:
        raise ValueError(f"{DISPOSES} makes calls that a person has allowed: it has no level")
    await known(f"pipeline:{pipeline}")
    if tenant != EVERYBODY:
        await known(f"tenant:{tenant}")


async def consider(
    tenant: str, pipeline: str, to: Autonomy, said: Independence, connection: Any = None
) -> Case:
    """What a promotion would rest on, by the policy as it stands for this tenant and pipeline."""
    rows = await autonomy.rows(connection)
    scopes = autonomy.by_scope(rows)
    stands = autonomy.standing(scopes, tenant, pipeline, Autonomy(said.initial))
    changes = [
        row["set_at"]
        for row in rows
        if row["pipeline"] == pipeline and row["tenant"] in {tenant, EVERYBODY}
    ]
    since = max(changes, default=None)
    whose = None if tenant == EVERYBODY else tenant
    found = await measure(pipeline, whose, since, connection)
    bar = said.promote.bar(to.value)
    against = [*_out_of_turn(stands, to), *_ceilings(scopes, tenant, pipeline, to, said)]
    against += found.lacks(bar) if bar else []
    return Case(stands, since, found, bar, against)


async def promote(
    tenant: str, pipeline: str, to: Autonomy, said: Independence, *, who: str, because: str = ""
) -> Case:
    """Give a pipeline the next level, when its record reaches the bar; the line has the figures.

    Judged and given in one turn: nobody lowers it in between, and no verdict is counted twice.

    Raises:
        NotEarned: What is missing.
    """
    readable(pipeline, because or ON_RECORD)
    async with autonomy.in_turn() as connection:
        case = await consider(tenant, pipeline, to, said, connection)
        if case.against:
            raise NotEarned(f"{pipeline} stays at {case.stands}: {'; '.join(case.against)}")
        reason = f"{because or ON_RECORD}: {case.found.told()}"
        record = [each._asdict() for each in (case.found.whole, case.found.answers)]
        await autonomy.put(
            connection, tenant, pipeline, to, who=who, reason=reason, how="promoted",
            before=case.stands, since=case.since, record=record,
            bar=case.bar.model_dump() if case.bar else None,
        )  # fmt: skip
    return case


async def set_level(
    tenant: str,
    pipeline: str,
    level: Autonomy,
    said: Independence,
    *,
    who: str,
    reason: str,
    force: bool = False,
) -> bool:
    """Lower a level, or with `force` raise it without a record; return whether it was changed.

    Raises:
        NotEarned: It would be raised.
        ValueError: No reason that can be read.
    """
    readable(pipeline, reason)
    async with autonomy.in_turn() as connection:
        scopes = autonomy.by_scope(await autonomy.rows(connection))
        own = scopes.get((tenant, pipeline))
        before = own or scopes.get((EVERYBODY, pipeline)) or Autonomy(said.initial)
        if own is level:
            return False
        raised = level.rank > before.rank
        if raised and not force:
            raise NotEarned(
                f"{pipeline} stands at {before}: `sluice autonomy promote` raises it on its"
                " record, --force without one"
            )
        await autonomy.put(
            connection, tenant, pipeline, level, who=who, reason=reason,
            how="forced" if raised else "set", before=before,
        )  # fmt: skip
    return True


def _out_of_turn(stands: Autonomy, to: Autonomy) -> list[str]:
    if to.rank <= stands.rank:
        return [f"it stands at {stands} already"]
    if to.rank > stands.rank + 1:
        return [f"one level at a time: {list(Autonomy)[stands.rank + 1]} comes first"]
    return []


def _ceilings(
    scopes: Scopes, tenant: str, pipeline: str, to: Autonomy, said: Independence
) -> list[str]:
    """What would hold it down whatever its own level were."""
    told = []
    if Autonomy(said.level).rank < to.rank:
        told.append(f"the policy's autonomy.level is {said.level}, and nothing goes beyond it")
    everybodys = scopes.get((EVERYBODY, pipeline))
    if tenant != EVERYBODY and everybodys is not None and everybodys.rank < to.rank:
        told.append(f"every tenant's level is {everybodys}: promote that first, without --tenant")
    return told
