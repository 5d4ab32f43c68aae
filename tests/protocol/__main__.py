"""`python -m tests.protocol` explores the protocol, or shows what a guard is good for."""

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Sequence

from tests.protocol import promises
from tests.protocol.explorer import Endless, Explorer
from tests.protocol.guards import GUARDS
from tests.protocol.model import SCENARIOS, model
from tests.protocol.rules import Scenario
from tests.protocol.story import told

_EXAMPLES = """
examples:
  python -m tests.protocol                          every scenario, with every guard
  python -m tests.protocol --without fence          the shortest way to break what the fence keeps
  python -m tests.protocol --scenario person --faults 3     deeper: half a minute
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 when a promise is broken, else 0."""
    asked = _parser().parse_args(arguments)
    if asked.without:
        return _without(asked.without, asked.scenario, asked.faults)
    names = [asked.scenario] if asked.scenario else list(SCENARIOS)
    broken = sum(_explore(_scenario(name, asked.faults)) for name in names)
    if not broken:
        _say("\nIn every one of these states, and between each and the next:")
        _say(*(f"  {promise}" for promise in promises.EVERY))
    return 1 if broken else 0


def _explore(scenario: Scenario) -> bool:
    result = Explorer(model(scenario)).explore()
    _say(
        f"{scenario.name}: {scenario.about}; faults at most: {scenario.faults}",
        f"  {result.states:,} states, {result.transitions:,} transitions, {result.seconds:.1f} s",
    )
    if result.found is not None:
        _say(told(result.found))
    return result.found is not None


def _without(name: str, scenario: str | None, faults: int | None) -> int:
    guard = GUARDS[name]
    cases = [case for case in guard.cases if scenario in {None, case[1]}]
    found = 0
    for promise, where in cases or [(guard.breaks, scenario or guard.scenario)]:
        chosen = _scenario(where, faults)
        _say(f"Without {name} ({guard.about}); {chosen.about}:", "")
        found += _break(name, promise, chosen)
    return 1 if found else 0


def _break(name: str, promise: str, scenario: Scenario) -> bool:
    try:
        result = Explorer(model(scenario, frozenset({name})), only=promise).explore()
    except Endless as endless:
        _say(f"Nothing found: {endless}.", "")
        return False
    if result.found is None:
        _say(f"Nothing found in {result.states:,} states.", "")
        return False
    _say(told(result.found), "", f"No shorter way; {result.states:,} states were looked at.", "")
    return True


def _scenario(name: str, faults: int | None) -> Scenario:
    scenario = SCENARIOS[name]
    return scenario if faults is None else dataclasses.replace(scenario, faults=faults)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.protocol",
        description="Walk every state that two workers, a run, its one step and a target can reach,"
        " and check the promises in each; docs/protocol.md says what is modelled.",
        epilog=_EXAMPLES
        + _list("scenarios", ((each.name, each.about) for each in SCENARIOS.values()))
        + _list("guards", ((name, each.about) for name, each in GUARDS.items())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scenario", choices=SCENARIOS, metavar="NAME", help="only this one")
    parser.add_argument(
        "--without",
        choices=GUARDS,
        metavar="GUARD",
        help="take this guard out, and print the shortest way to a broken promise; exits with 1",
    )
    parser.add_argument(
        "--faults",
        type=int,
        metavar="N",
        help="how many may happen; each one costs a factor of six",
    )
    return parser


def _list(title: str, rows: Iterable[tuple[str, str]]) -> str:
    return f"\n{title}:\n" + "\n".join(f"  {name:18} {about}" for name, about in rows) + "\n"


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
