"""The guards: what is done for a reason, each to be taken out by name."""

from dataclasses import dataclass

from tests.protocol import promises


@dataclass(frozen=True)
class Guard:
    """Something that is done for a reason; docs/protocol.md says what the code lacks."""

    about: str
    breaks: str
    """The promise that does not hold without it."""
    scenario: str
    """Where that shows."""
    also: tuple[tuple[str, str], ...] = ()
    """What else it breaks, and where."""

    @property
    def cases(self) -> tuple[tuple[str, str], ...]:
        """Each promise that it keeps, and the scenario that shows it."""
        return ((self.breaks, self.scenario), *self.also)


GUARDS = {
    "unique_key": Guard(
        "request_key is unique: admission inserts, and does not look first",
        promises.ONE_RUN,
        "duplicates",
    ),
    "fence": Guard(
        "intents and outcomes are written only for (run, attempt, running)",
        promises.AT_MOST_ONCE,
        "look-up",
    ),
    "departure_fence": Guard(
        "so are departures, and the parking of a run", promises.LATEST_WRITES, "person"
    ),
    "sweeper": Guard(
        "what a worker dropped is put back, though nobody asks for it", promises.ENDS, "read"
    ),
    "sweep_guard": Guard(
        "the sweeper judges the row as it is under the lock, not as it saw it",
        promises.STAYS_FINISHED,
        "look-up",
    ),
    "adopt_attempt": Guard(
        "what a worker finds to be its own is adopted as a new attempt",
        promises.AT_MOST_ONCE,
        "look-up",
    ),
    "intent": Guard(
        "a write's intent is committed before it leaves", promises.AT_MOST_ONCE, "person"
    ),
    "outcome_stands": Guard(
        "an intent does not overwrite an outcome", promises.STAYS_SETTLED, "look-up"
    ),
    "send_before": Guard(
        "a request that did not leave in time stays here",
        promises.AT_MOST_ONCE,
        "look-up",
        also=((promises.STOPPED, "gate"),),
    ),
    "token": Guard(
        "an outcome or a testimony names the try it is of", promises.TRUE_LEDGER, "write"
    ),
    "late_token": Guard(
        "a testimony closes the entry under a token of its own", promises.AS_RECORDED, "look-up"
    ),
    "same_key": Guard("every try of a WRITE carries the same key", promises.AT_MOST_ONCE, "write"),
    "key_share": Guard(
        "a WRITE is sent again only while its target surely knows the key",
        promises.AT_MOST_ONCE,
        "write",
    ),
    "doubt_delay": Guard(
        "no look-up while the earlier request may be under way", promises.AT_MOST_ONCE, "look-up"
    ),
    "sees_after": Guard(
        "nor before the look-up would see what it has done", promises.AT_MOST_ONCE, "look-up"
    ),
    "ask_delay": Guard(
        "no person is asked while the earlier request may be under way",
        promises.AT_MOST_ONCE,
        "person",
    ),
    "ask_after_delay": Guard("nor about a run that has ended", promises.TRUE_LEDGER, "person"),
    "refusal_in_doubt": Guard(
        "a refusal says nothing about an earlier try in doubt", promises.TRUE_LEDGER, "write"
    ),
    "open_question": Guard(
        "a run parks with a question only while its write is in doubt", promises.GIVEN_UP, "person"
    ),
    "gate": Guard("an intent reads the gate", promises.GATED, "gate"),
    "check_in_statement": Guard(
        "it does so in the statement that inserts, not in one before it",
        promises.STOPPED,
        "gate",
        also=((promises.GATED, "gate"),),
    ),
    "read_committed": Guard(
        "that statement's snapshot is younger than its lock: whoever waited for a flip sees it",
        promises.STOPPED,
        "gate",
        also=((promises.GATED, "gate"),),
    ),
    "gate_lock": Guard(
        "a flip locks the table, and so waits for those that have read it",
        promises.STOPPED,
        "gate",
        also=((promises.GATED, "gate"),),
    ),
    "every_try": Guard("every try has an intent of its own", promises.STOPPED, "gate"),
    "stopped_waits": Guard(
        "STOPPED waits for the send_before of a write without an answer", promises.STOPPED, "gate"
    ),
    "only_try": Guard(
        "an answer frees STOPPED and DRAINED from waiting only when it is of the only try",
        promises.STOPPED,
        "gate",
        also=((promises.DRAINED, "gate"),),
    ),
    "drained_waits": Guard(
        "DRAINED waits until a write without an answer is under way no more",
        promises.DRAINED,
        "gate",
    ),
    "drained_doubts": Guard(
        "also when its run was ended, and it is in doubt already", promises.DRAINED, "gate"
    ),
    "drained_lists": Guard(
        "its list has what is reserved, too: a parked run may have left it", promises.LISTED, "gate"
    ),
    "gate_release": Guard("what waits for the gate goes on when it opens", promises.ENDS, "gate"),
}
