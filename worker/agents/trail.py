"""A trail: by which way an earlier attempt of a run went, where today's settings know another one.

What is withheld, and when a summary is due, depends on how large an agent's window is. A resumed
run does what was done then, and by today's settings only what nobody has come to yet.
"""

from collections.abc import Mapping

from worker.record import Record

Trail = Mapping[str, Record]
"""What is on record, by step."""


def has_said(trail: Trail, saying: str) -> bool:
    """Whether nothing is sent for this saying: it is on record, with what came of it."""
    record = trail.get(saying)
    return record is not None and record.over


def was_summed(trail: Trail, summary: str, saying: str) -> bool:
    """Whether this summary was asked for before that saying."""
    summed, said = trail.get(summary), trail.get(saying)
    return summed is not None and (said is None or summed.number < said.number)


def was_looked(trail: Trail, look: str, saying: str, agent: str) -> bool | None:
    """Whether a look that was said was also taken; None: nobody came as far."""
    if any(name == look or name.startswith(f"{look}/") for name in trail):
        return True
    said = trail.get(saying)
    mine = [each.number for name, each in trail.items() if name.startswith(f"{agent}/")]
    return False if said is not None and any(each > said.number for each in mine) else None
