"""`flow.assess`: what is known stands in the ledger, and what is lacking goes to a person."""

from datetime import timedelta

import orjson
import pytest

from config.settings import settings
from models.database import hot
from models.review import Verdict
from models.verdict import BadAnswer
from models.verdict import answer as verdict
from tests import assess_pipelines, conftest
from tests.assess_pipelines import NAME, SAYS, SHOWN
from tests.bound_pipelines import SENT
from tests.conftest import CATALOGUE, document, expire_lease, reload, sweep
from tests.model_server import model_server, says
from tools import llm
from worker.outcome import LostLease

CATALOGUE |= assess_pipelines.PIPELINES

FACT = {"fact": "ann and bob are known", "step": "look"}
ADDRESS = {"question": "Where does the customer live?", "critical": True}
DAY = {"question": "On which day?", "critical": True}
COLOUR = {"question": "Which colour?", "critical": False}


@pytest.fixture
def assessed(submit, attempt):
    """Runs a script of claims to the run's departure; its row."""
    for each in (SAYS, SHOWN, SENT):
        each.clear()

    async def go(*said, **given):
        SAYS[:] = said
        run = await submit("assessing", given)
        await attempt(run)
        return await reload(run)

    return go


async def open_gaps():
    return await hot().fetch("SELECT * FROM review WHERE verdict IS NULL ORDER BY step")


async def test_what_a_settled_step_proves_is_established_and_the_rest_is_named_as_it_is(assessed):
    assumed = {"fact": "they want it soon", "because": "people do"}
    row = await assessed({"established": [FACT], "assumed": [assumed], "unknown": [COLOUR]})

    assert row["stop_reason"] == "success"
    assert document(row["result"]) == {
        "established": [FACT | {"by": "step", "question": ""}],
        "assumed": [assumed],
        "unknown": [COLOUR],
    }
    (shown,) = SHOWN
    assert [(each["step"], each["tool"]) for each in shown["steps"]] == [("look", "page.read")]
    assert shown["steps"][0]["result"]["people"] == [{"id": "ann"}, {"id": "bob"}]
    assert await hot().fetchval("SELECT count(*) FROM call_audit") == 0


@pytest.mark.parametrize("step", ["sure", "nowhere", "known/gap-1"])
async def test_what_names_no_step_that_proves_it_is_told_back_and_audited(assessed, step):
    """What a model or a decision said proves nothing, and neither does what was never done."""
    row = await assessed({"established": [FACT, FACT | {"step": step}]}, {"established": [FACT]})

    assert row["stop_reason"] == "success"
    assert [each["step"] for each in document(row["result"])["established"]] == ["look"]
    assert SHOWN[1]["complaints"] == [
        {"code": "unproven", "advice": "retry", "pointer": "/established/1/step",
         "allowed": ["look"]}
    ]  # fmt: skip
    audited = await hot().fetchrow("SELECT guard, reason, step, tool, told FROM call_audit")
    assert tuple(audited)[:4] == ("result", "model_output_invalid", "known/ask-1", "known")
    assert repr(step) in audited["told"]


async def test_who_insists_on_what_nothing_proves_ends_the_run(assessed):
    row = await assessed({"established": [FACT | {"step": "nowhere"}]})

    assert (row["stop_reason"], len(SHOWN)) == ("model_output_invalid", 3)
    assert "/established/0/step unproven" in row["detail"]
    assert await hot().fetchval("SELECT count(*) FROM call_audit") == 3


@pytest.mark.parametrize("said", [None, "established: all"])
async def test_a_function_that_answers_outside_its_type_ends_the_run(assessed, said):
    row = await assessed(said)

    assert (row["stop_reason"], row["bugs"]) == ("model_output_invalid", 0)


async def test_critical_gaps_are_asked_at_once_and_come_back_as_a_persons_word(assessed, attempt):
    row = await assessed({"established": [FACT], "unknown": [ADDRESS, COLOUR, DAY]})

    first, second = await open_gaps()
    assert (row["waiting_for"], row["steps"]) == ("review", 5)
    assert (first["kind"], first["step"]) == ("gap", "known/gap-1")
    assert "Where does the customer live?" in first["question"]
    assert document(first["proposal"]) == {"answer": "unknown"}
    assert "answer" in document(first["answer_schema"])["properties"]
    with pytest.raises(BadAnswer):
        await verdict(first["id"], Verdict.EDITED, who="jo", value={"answer": ""})
    with pytest.raises(BadAnswer):
        await verdict(first["id"], Verdict.EDITED, who="jo", value={"to": "eve"})
    await verdict(first["id"], Verdict.EDITED, who="jo", value={"answer": "Ulm"})
    assert (await reload(row["id"]))["status"] == "waiting", "the other one is open"
    await verdict(second["id"], Verdict.APPROVED, who="jo")
    await attempt(row["id"])

    after = await reload(row["id"])
    assert (after["stop_reason"], after["steps"], len(SHOWN)) == ("success", 6, 1), after["detail"]
    assert document(after["result"]) == {
        "established": [
            FACT | {"by": "step", "question": ""},
            {"fact": "Ulm", "step": "known/gap-1", "by": "person", "question": ADDRESS["question"]},
        ],
        "assumed": [],
        "unknown": [COLOUR, DAY],
    }
    assert [each.to for each in SENT] == ["Ulm"], "a person's word is endorsed as one"


async def test_a_gap_is_put_on_one_line_that_nobody_takes_for_ours(assessed):
    forged = "Which day?\n  approval cloud.shutdown\n\u2028  ops has looked at it already"
    await assessed({"unknown": [{"question": forged, "critical": True}]})

    (gap,) = await open_gaps()
    assert gap["question"].endswith(
        "goes on: Which day? approval cloud.shutdown ops has looked at it already"
    )


async def test_a_gap_counts_as_asked_for_the_steps_of_its_run(assessed):
    row = await assessed({"unknown": [ADDRESS, DAY]})

    kinds = await hot().fetch("SELECT step, kind, state FROM ledger_entry ORDER BY number")
    assert [tuple(each) for each in kinds][-2:] == [
        ("known/gap-1", "ask", "reserved"), ("known/gap-2", "ask", "reserved"),
    ]  # fmt: skip
    assert (row["steps"], row["calls"]) == (5, 1)


@pytest.mark.parametrize("said", ["rejected", "expired"])
@pytest.mark.parametrize("or_else", [None, "they live where the parcel went last"])
async def test_a_gap_that_nobody_closes_ends_the_run_or_is_assumed(
    assessed, attempt, said, or_else
):
    row = await assessed({"unknown": [ADDRESS, DAY]}, or_else=or_else)
    first, second = await open_gaps()
    await verdict(second["id"], Verdict.EDITED, who="jo", value={"answer": "Monday"})
    if said == "rejected":
        await verdict(first["id"], Verdict.REJECTED, who="jo")
    else:
        await hot().execute("UPDATE review SET decide_by = now() WHERE id = $1", first["id"])
        await sweep()
    await attempt(row["id"])

    after = await reload(row["id"])
    if or_else is None:
        assert after["stop_reason"] == f"review_{said}"
    else:
        found = document(after["result"])
        assert [each["fact"] for each in found["established"]] == ["Monday"]
        assert found["assumed"] == [
            {"fact": or_else, "because": f"review_{said}: {ADDRESS['question']}"}
        ]
    assert len(SHOWN) == 1


async def test_a_crash_behind_the_claims_asks_nobody_again(assessed, attempt, world):
    row = await assessed({"established": [FACT], "unknown": [ADDRESS]})
    (gap,) = await open_gaps()
    await verdict(gap["id"], Verdict.EDITED, who="jo", value={"answer": "bob"})
    world.breaks("mail.answer", MemoryError("its worker dies here"), times=1)
    await attempt(row["id"])
    await hot().execute("UPDATE run SET dispatch_at = now()")
    await attempt(row["id"])

    assert (await reload(row["id"]))["stop_reason"] == "success"
    assert len(SHOWN) == 1
    assert [each.to for each in SENT] == ["bob"]
    assert await hot().fetchval("SELECT count(*) FROM review") == 1


@pytest.fixture
async def server(monkeypatch):
    async with model_server() as it:
        named = {NAME: {"base_url": it.url, "model": "probe-1", "usd_per_million_in": 1,
                        "usd_per_million_out": 1}}  # fmt: skip
        monkeypatch.setenv("SLUICE_MODELS", orjson.dumps(named).decode())
        settings.cache_clear()
        yield it
        await llm.close()
    monkeypatch.undo()
    settings.cache_clear()


async def test_a_language_model_is_shown_the_ledger_as_foreign_text_and_told_what_lacks_a_step(
    assessed, server
):
    lie = {"established": [{"fact": "eve may have it", "step": "known/ask-1"}]}
    server.will(says(lie), says({"established": [FACT]}))
    row = await assessed(way="model", goal="Find out who it is for")

    assert row["stop_reason"] == "success"
    assert [each["step"] for each in document(row["result"])["established"]] == ["look"]
    first, second = server.requests
    ours, theirs = [each["content"] for each in first["messages"]]
    assert "Find out who it is for" in ours
    assert "eve@evil.example" not in ours
    assert "eve@evil.example" in theirs
    assert theirs.startswith("=====")
    assert "unproven" in second["messages"][-1]["content"]
    assert await hot().fetchval("SELECT count(*) FROM call_audit") == 1
    asked = await hot().fetchval("SELECT args FROM ledger_entry WHERE step = 'known/ask-1'")
    assert "evil" not in str(document(asked)), "what a replay must repeat is the question"


async def test_a_language_model_that_lies_on_is_asked_no_more_than_it_says(assessed, server):
    server.will(says({"established": [FACT | {"step": "nowhere"}]}))
    row = await assessed(way="model")

    assert (row["stop_reason"], len(server.requests)) == ("model_output_invalid", 2)
    assert "unproven" in row["detail"]


async def test_a_language_models_gap_is_asked_once_and_the_model_as_well(assessed, attempt, server):
    server.will(says({"unknown": [DAY]}))
    row = await assessed(way="model")
    (gap,) = await open_gaps()
    await verdict(gap["id"], Verdict.APPROVED, who="jo")
    await attempt(row["id"])

    after = await reload(row["id"])
    assert (after["stop_reason"], len(server.requests)) == ("success", 1)
    assert document(after["result"])["unknown"] == [DAY]


async def test_a_worker_lost_behind_what_a_model_said_asks_it_no_second_time(
    assessed, attempt, server, monkeypatch
):
    """Of two sayings the first lacked a step: on replay that is told again, and asked once."""
    sound = conftest.Journal

    class Lost(sound):
        def __init__(self, **more):
            super().__init__(**more)
            self.record = self._lost

        async def _lost(self, entry):
            if entry.step == "known":
                raise LostLease
            await sound(patience=timedelta(seconds=2)).record(entry)

    monkeypatch.setattr(conftest, "Journal", Lost)
    server.will(says({"established": [FACT | {"step": "nowhere"}]}), says({"established": [FACT]}))
    row = await assessed(way="model")
    assert row["status"] == "running"
    monkeypatch.setattr(conftest, "Journal", sound)
    await expire_lease(row["id"])
    await sweep()
    await attempt(row["id"])

    assert ((await reload(row["id"]))["stop_reason"], len(server.requests)) == ("success", 2)
    assert await hot().fetchval("SELECT count(*) FROM call_audit") == 1


async def test_no_question_to_a_person_writes_a_line_of_its_own_in_the_terminal(assessed, sluice):
    """Whoever asks: names that a model chose stand in questions about its calls as well."""
    await assessed({"unknown": [ADDRESS]})
    forged = "Is it so?\n01234567-89ab-cdef-0123-456789abcdef  approval mail.send"
    await hot().execute("UPDATE review SET question = $1", forged)

    _, out, _ = await sluice("reviews", "--list")

    assert "Is it so? 01234567" in out
    assert not [line for line in out.splitlines() if line.startswith("01234567-89ab")]


async def test_a_long_text_hides_nothing_of_what_a_person_is_to_allow(assessed, sluice):
    await assessed({"unknown": [ADDRESS]})
    asked = orjson.dumps({"text": "x" * 4_000, "to": "evil@example.com"})
    await hot().execute("UPDATE review SET proposal = $1", asked)

    _, out, _ = await sluice("reviews", "--list")

    assert "evil@example.com" in out.replace("\n", "")
    assert len(out) < 1_000


async def test_a_gap_is_listed_and_answered_in_the_terminal(assessed, sluice):
    await assessed({"unknown": [ADDRESS]})
    (gap,) = await open_gaps()

    code, out, _ = await sluice("reviews", "--list", "--kind", "gap")
    assert (code, "Where does the customer live?" in out.replace("\n", " ")) == (0, True), out
    code, out, _ = await sluice("answer", str(gap["id"]), "--edit", '{"answer": "Ulm"}')
    assert code == 0, out
    assert await hot().fetchval("SELECT status FROM run") == "queued"
