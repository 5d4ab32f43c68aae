"""Each checker of histories lets a good one pass, and catches the one that breaks its promise."""

from dataclasses import replace

import pytest

from tests.chaos import history
from tests.chaos.history import broken
from tests.chaos.rows import EntrySeen, History, RunSeen, lines
from tests.desk_record import Seen, Ticket

RUN = "01a1"
KEY = f"{RUN}:file"
RESULT = b'{"id":"7","external_ref":"T-1"}'


def run(seq: int, status: str, attempt: int, *, writer: str = "worker_a", **more: str) -> RunSeen:
    return RunSeen(seq, float(seq), writer, RUN, status, attempt, **more)


def entry(seq: int, state: str, attempt: int, *, writer: str = "worker_a", **more) -> EntrySeen:
    result = RESULT if state == "settled" else None
    return EntrySeen(
        seq, float(seq), writer, RUN, "file", "call", state, attempt, 1,
        **{"result": result, "effect": "write"} | more,
    )  # fmt: skip


def seen(at: float, did: str = "created", key: str = KEY) -> Seen:
    return Seen(at, key, "T-1", did, None, 201)


GOOD = History(
    runs=[
        run(1, "queued", 0, writer="postgres"),
        run(2, "running", 1),
        run(4, "queued", 1, writer="worker_b"),
        run(5, "running", 2, writer="worker_b"),
        run(8, "finished", 2, writer="worker_b", stop_reason="success"),
    ],
    entries=[
        entry(3, "reserved", 1),
        entry(6, "reserved", 2, writer="worker_b"),
        entry(7, "settled", 2, writer="worker_b"),
    ],
    requests=[seen(3.5), seen(6.5, "repeated")],
    tickets=[Ticket(7, 3.5, "T-1", KEY, "a parcel")],
    workers=frozenset({"worker_a", "worker_b"}),
)
"""A worker dies after its write has left; the next one sends it again with the same key."""


def test_a_good_history_breaks_no_promise():
    assert broken(GOOD) == []


def altered(*, run_at: dict[int, RunSeen] | None = None, **more) -> History:
    runs = [(run_at or {}).get(row.seq, row) for row in GOOD.runs]
    return replace(GOOD, runs=runs, **more)


BAD = {
    history.attempts_only_grow: [
        altered(run_at={5: run(5, "running", 1, writer="worker_b")}),
        altered(run_at={5: run(5, "running", 3, writer="worker_b")}),
        altered(run_at={4: run(4, "queued", 2, writer="worker_b")}),
    ],
    history.states_follow_the_diagram: [
        altered(run_at={4: run(4, "finished", 1, stop_reason="success")}),
        altered(run_at={1: run(1, "running", 1)}),
    ],
    history.only_the_holder_writes: [
        replace(GOOD, entries=[*GOOD.entries[:2], entry(7, "settled", 1)]),
        replace(GOOD, runs=[]),
    ],
    history.attempts_do_not_overlap: [
        replace(GOOD, entries=[GOOD.entries[0], entry(6, "reserved", 1), GOOD.entries[2]]),
    ],
    history.settled_stays_settled: [
        replace(GOOD, requests=[*GOOD.requests, seen(7.5, "repeated")]),
        replace(GOOD, entries=[*GOOD.entries, entry(9, "reserved", 2, writer="worker_b")]),
        replace(GOOD, entries=[*GOOD.entries, entry(9, "settled", 2, result=b'{"id":"8"}')]),
    ],
    history.every_request_had_an_intent: [
        replace(GOOD, entries=GOOD.entries[1:]),
        replace(GOOD, requests=[*GOOD.requests, seen(6.6, key="a stranger's")]),
    ],
    history.one_effect_for_each: [
        replace(GOOD, tickets=[*GOOD.tickets, Ticket(8, 6.5, "T-1", KEY, "a parcel")]),
        replace(GOOD, tickets=[*GOOD.tickets, Ticket(8, 6.5, "T-1", "another", "a parcel")]),
    ],
    history.what_may_happen_twice_is_sent_once: [
        replace(GOOD, entries=[row._replace(effect="write_once") for row in GOOD.entries]),
    ],
    history.the_record_tells_the_truth: [
        replace(GOOD, tickets=[]),
        replace(GOOD, tickets=[Ticket(8, 3.5, "T-1", KEY, "a parcel")]),
        replace(GOOD, entries=GOOD.entries[:2]),
        replace(GOOD, tickets=[*GOOD.tickets, Ticket(8, 4, "T-2", f"{RUN}:more", "unheard of")]),
    ],
}


@pytest.mark.parametrize("check", history.CHECKS, ids=lambda check: check.__name__)
def test_what_a_promise_forbids_is_noticed_by_its_checker(check):
    assert [list(check(each)) == [] for each in BAD[check]] == [False] * len(BAD[check])
    assert list(check(GOOD)) == []


def test_a_history_is_told_in_the_order_in_which_it_happened():
    told = list(lines(GOOD.of(KEY)))

    assert len(told) == 10
    assert "run queued attempt 0" in told[0]
    assert "desk created T-1" in told[3]
    assert "run finished attempt 2 success" in told[-1]
