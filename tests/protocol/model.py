"""The model: its scenarios, its promises, and the guards that can be taken out by name."""

from dataclasses import dataclass

from tests.protocol import admission, call, doubt, late, lease, promises, target
from tests.protocol.explorer import Model
from tests.protocol.rules import Effect, Moves, Rules, Scenario
from tests.protocol.state import Run, State, Status

SCENARIOS = {
    each.name: each
    for each in (
        Scenario(
            "duplicates",
            "a request that comes twice, bells doubled and lost",
            Effect.WRITE,
            faults=1,
            duplicates=True,
        ),
        Scenario("read", "a read", Effect.READ, faults=4),
        Scenario(
            "write",
            "a WRITE, whose target knows our key for a time",
            Effect.WRITE,
            faults=2,
            key_expires=True,
        ),
        Scenario(
            "look-up",
            "a WRITE_ONCE whose target can be asked what became of it",
            Effect.WRITE_ONCE,
            faults=2,
            lookup=True,
        ),
        Scenario(
            "person", "a WRITE_ONCE of which only a person can tell", Effect.WRITE_ONCE, faults=2
        ),
        Scenario(
            "gate", "a WRITE, and an operator who shuts the gate", Effect.WRITE, faults=1, flips=1
        ),
    )
}


@dataclass(frozen=True)
class Guard:
    """Something that is done for a reason; docs/protocol.md says what the code lacks."""

    about: str
    breaks: str
    """The promise that does not hold without it."""
    scenario: str
    """Where that shows."""


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
        "a request that did not leave in time stays here", promises.AT_MOST_ONCE, "look-up"
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
    "gate": Guard("an intent reads the gate in its own statement", promises.GATED, "gate"),
    "stopped_waits": Guard(
        "STOPPED waits for every send_before, whatever became of the entry",
        promises.STOPPED,
        "gate",
    ),
}


def model(scenario: Scenario, without: frozenset[str] = frozenset()) -> Model[State]:
    """One scenario, less these guards."""
    rules = Rules(scenario, without)
    initial = State(faults=scenario.faults, flips=scenario.flips)
    if scenario.duplicates:
        new = (admission.NEW,) * len(admission.CLIENTS)
        initial = initial._replace(run=Run(Status.ABSENT), requests=new, runs=0)

    def moves(state: State) -> Moves:
        return [
            move._replace(after=move.after.tidied())
            for part in (admission, lease, call, late, doubt, target)
            for move in part.moves(rules, state)
        ]

    return Model(
        initial,
        moves,
        promises.always(rules),
        promises.between(),
        over=lambda state: state.run.status is Status.FINISHED,
        comes_to_an_end=promises.ENDS,
    )
