"""Plans and assessments in which `sluice check` must find something."""

from tests.bad_pipelines import AGENT, Given, Judged, send
from worker.agents.agent import offer
from worker.agents.assessment import Assessor, Claims
from worker.flow import Flow
from worker.labels.binding import fixed
from worker.pipeline import pipeline


async def knows(**_: object) -> Claims:
    return Claims()


KNOWN = Assessor("known", "", knows)


@pipeline("plans", version=1, tools=[])
async def plans(flow: Flow, given: Given) -> Judged:
    await flow.plan("one", AGENT, goal="", offers=[offer(send)])  # undeclared
    await flow.assess("one", KNOWN, goal="", about=given)  # step-twice
    for each in given.items:
        await flow.assess("again", KNOWN, goal=each, about=given)  # step-in-loop
        await flow.plan(f"fine-{each}", AGENT, goal=each, offers=[])
    found = await flow.assess("other", KNOWN, goal="", about=given)
    await flow.call("told", send, to=fixed(found.established[0].fact))  # fixed-input undeclared
    return Judged(confidence=1)


PIPELINES = [plans]
