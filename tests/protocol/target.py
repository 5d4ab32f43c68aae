"""The target and the network: what becomes of a request, and the deadlines that pass meanwhile."""

from tests.protocol.explorer import Move
from tests.protocol.rules import Effect, Moves, Rules
from tests.protocol.state import Phase, Stage, State, Way

_PASSES = {
    Phase.OPEN: "send_before passes",
    Phase.CLOSED: "is travelling no more",
    Phase.QUIET: "can be seen by a look-up",
}


def moves(rules: Rules, state: State) -> Moves:
    found: Moves = []
    for token, each in enumerate(state.tries, start=1):
        if each.way is Way.TRAVELLING:
            found += _arrive(rules, state, token)
        found += _pass(rules, state, token)
    quiet = all(each.phase >= Phase.QUIET for each in state.tries)
    if rules.scenario.key_expires and state.key_kept and state.effects and quiet:
        forgotten = state._replace(key_kept=False)
        found.append(Move("target", "forgets our key", forgotten))
    return found


def _arrive(rules: Rules, state: State, token: int) -> Moves:
    what = f"try {token}"
    known = state.effects > 0 and state.key_kept and rules.guarded("same_key")
    if rules.scenario.effect is Effect.WRITE and known:
        found = [Move(what, "changes nothing more", state.with_try(token, way=Way.DONE))]
    else:
        done = state.with_try(token, way=Way.DONE)._replace(effects=state.effects + 1)
        found = [Move(what, "takes effect", done)]
    if state.faults:
        worse = state._replace(faults=state.faults - 1)
        for does, way in (
            ("is lost", Way.LOST),
            ("is refused", Way.REFUSED),
            ("is turned away", Way.BUSY),
        ):
            found.append(Move(what, does, worse.with_try(token, way=way), fault=True))
    return found


def _pass(rules: Rules, state: State, token: int) -> Moves:
    """A deadline passes, in the order of the tries, and none with its request still under way.

    That `send_before` passes while a living worker is about to send is a fault like any other.
    """
    phase = state.tries[token - 1].phase
    earlier = min((each.phase for each in state.tries[: token - 1]), default=Phase.SEEN)
    last = Phase.SEEN if rules.scenario.lookup else Phase.QUIET
    if phase >= last or earlier <= phase:
        return []
    if phase is Phase.CLOSED and state.tries[token - 1].way is Way.TRAVELLING:
        return []
    passed = state.with_try(token, phase=Phase(phase + 1))
    hurried = phase is Phase.OPEN and any(
        each.stage is Stage.INTENDED and each.token == token and not each.silent
        for each in state.workers
    )
    if not hurried:
        return [Move(f"try {token}", _PASSES[phase], passed)]
    if not state.faults:
        return []
    slow = passed._replace(faults=state.faults - 1)
    return [Move(f"try {token}", _PASSES[phase], slow, fault=True)]
