"""Hundreds of evil runs at once, on one worker, a real PostgreSQL behind it."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from config.rulebook import Rulebook
from models.admission import Admission
from models.database import hot
from models.request import Request
from tests.evil import pipelines
from tests.evil.person import Person
from tests.evil.strategies import Case
from worker.claim import Claims
from worker.gatekeeper import Gatekeeper
from worker.gateway import Gateway
from worker.journal import Journal
from worker.pipelines.execute_proposal import with_execution
from worker.runner import Runner

_ROUNDS = 60
_SOON = """
    UPDATE run SET dispatch_at = now()
     WHERE status = 'queued' AND waiting_for IS DISTINCT FROM 'fix'
"""
_BUSY = "SELECT count(*) FROM run WHERE status = 'queued'"


async def carry_out(cases: Sequence[Case], rules: Rulebook, person: Person) -> dict[UUID, Case]:
    """Run each case to its end; the run of each."""
    for each in (pipelines.GIVEN, pipelines.CASES, pipelines.ASKED):
        each.clear()
    admission = Admission(patience_s=10)

    async def admit(number: int, case: Case) -> tuple[UUID, Case]:
        customer = f"c-{number}"
        pipelines.CASES[customer] = case
        asked = Request("acme", uuid4().hex, "evil", {"customer": customer})
        return (await admission(asked)).run_id, case

    runs = dict(await asyncio.gather(*(admit(n, each) for n, each in enumerate(cases))))
    journal = Journal(patience=timedelta(seconds=10))
    gatekeeper = Gatekeeper(rules, patience_s=60)
    await gatekeeper.look()
    gateway = Gateway(journal, gatekeeper, rules, send_before_s=30)
    catalogue = with_execution(pipelines.PIPELINES)
    runner = Runner(catalogue, journal, gateway, bug_limit=1)
    claims = Claims(uuid4(), list(catalogue), 300)
    for _ in range(_ROUNDS):
        await gatekeeper.look()
        while held := await claims.take(250, held={}):
            await asyncio.gather(*(runner.run(each) for each in held))
        answered = await person.answer_all()
        await hot().execute(_SOON)
        if not answered and not await hot().fetchval(_BUSY):
            break
    return runs
