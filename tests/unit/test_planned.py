"""What is no plan, place by place; whatever a model says, it is told or it fits."""

import orjson
import pytest
from pydantic import ValidationError
from pydantic_core import from_json

from tests.plan_pipelines import answers, call, plans
from worker.agents.complaint import of_contract
from worker.agents.planned import MOST_CALLS, Planned

READ = call("page.read")


def told(said):
    with pytest.raises(ValidationError) as error:
        Planned.model_validate(from_json(orjson.dumps(said) if isinstance(said, dict) else said))
    return [(each.code, each.pointer) for each in of_contract(error.value, Planned)]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (plans(READ, call("page.read", because="why not")), ("invalid", "/plan/1/because")),
        (plans(READ, call("page.read", because=" " * 40)), ("invalid", "/plan/1/because")),
        (plans(READ, {"tool": "page.read"}), ("missing", "/plan/1/because")),
        (plans(READ, because="go"), ("invalid", "/because")),
        (plans(*[READ] * (MOST_CALLS + 1)), ("invalid", "/plan")),
        (plans(*[READ] * 1_000), ("invalid", "/plan")),
        (plans(), ("invalid", "")),
        (plans(READ) | answers(), ("invalid", "")),
        ({"plan": {"tool": "page.read"}}, ("invalid", "/plan")),
        ({"plan": [plans(READ)]}, ("missing", "/plan/0/tool")),
        ({"plan": [[READ]]}, ("invalid", "/plan/0")),
        (plans(READ | {"tool": ""}), ("invalid", "/plan/0/tool")),
        (plans(READ | {"arguments": [1]}), ("invalid", "/plan/0/arguments")),
        (plans(READ | {"step": "look"}), ("unknown", "/plan/0/step")),
        (plans(READ | {"because": 1234567890}), ("invalid", "/plan/0/because")),
        (b'{"plan": [{"tool": "a\\u0000", "arguments": {"\\u0000": 1}, "because": 5}]}',
         ("invalid", "/plan/0/because")),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_told_with_its_place(said, complaint):
    assert complaint in told(said)


def test_a_plan_as_long_as_may_be_and_an_answer_without_a_reason_fit():
    assert len(Planned.model_validate(plans(*[READ] * MOST_CALLS)).plan) == MOST_CALLS
    assert Planned.model_validate({"answer": {}}).answer == {}


def test_what_would_do_is_told_as_well():
    with pytest.raises(ValidationError) as error:
        Planned.model_validate(plans(READ, call("page.read", because="short")))

    (complaint,) = of_contract(error.value, Planned)

    assert complaint.document()["allowed"]["minLength"] == 10
