"""On what a fact may rest, and how much of it a model is shown."""

from decimal import Decimal
from uuid import uuid4

import pytest

from models.ledger import EntryState
from worker.proof import proofs, shown
from worker.record import Record


def record(step="look", state=EntryState.SETTLED, tool="page.read", effect="read", result=b"{}"):
    return Record(step, 1, state, b"", 1, uuid4(), Decimal(0), result, None, tool, effect,
                  b"{}", 0.0, 0.0)  # fmt: skip


@pytest.mark.parametrize("state", [each for each in EntryState if each is not EntryState.SETTLED])
def test_what_failed_was_taken_back_or_may_not_have_happened_proves_nothing(state):
    assert list(proofs([record(), record("other", state)])) == ["look"]


@pytest.mark.parametrize(
    ("tool", "effect", "counts"),
    [
        ("page.read", "read", True),
        ("mail.send", "write", True),
        (None, None, True),  # a person's answer
        ("classify", None, False),  # a decision, or what an agent said
        ("memory.recall", None, False),
        ("model.default", "read", False),
    ],
)
def test_a_tools_result_and_a_persons_answer_prove_and_a_models_word_does_not(tool, effect, counts):
    assert bool(proofs([record(tool=tool, effect=effect)])) == counts


def test_a_long_text_and_a_long_list_are_shown_by_their_length():
    written = b'{"text": "%s", "hits": [%s]}' % (b"x" * 4_000, b",".join([b'{"id": "a"}'] * 80))

    (seen,) = shown({"look": record(result=written)})

    assert seen["result"]["text"] == {"withheld": {"chars": 4_000}}
    assert seen["result"]["hits"][0] == {"id": "a"}
    assert seen["result"]["hits"][50:] == [{"withheld": {"items": 30}}]
