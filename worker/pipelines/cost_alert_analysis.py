"""The analysis of a cost alert: rules first, a language model where one is named; never an act."""

import re
from decimal import Decimal
from enum import StrEnum

from tools.cloud.form import Instance, State, protecting
from worker.decision import Answer, Decision
from worker.wording import by_language_model

ASSISTANT = "default"
"""The language model that may be asked, as SLUICE_MODELS names it."""
BAR = 0.7
STALE = Decimal("0.5")
"""Below this share of what the alert says, the instance no longer costs what it is about."""
_READ_CHARS = 4_000


class Action(StrEnum):
    SHUTDOWN = "shutdown"
    RESIZE = "resize"
    MONITOR = "monitor"
    INVESTIGATE = "investigate"


class Analysis(Answer):
    """What should be done about the instance of the alert. It can name no other one."""

    action: Action


def by_state(*, alert: str, alert_usd: Decimal | None, instance: Instance) -> Analysis | None:  # noqa: ARG001  # a rule takes all inputs
    """What costs nothing any more needs nobody's judgement."""
    if instance.state is not State.RUNNING:
        told = f"it is {instance.state.value} already"
    elif alert_usd is not None and instance.monthly_usd < STALE * alert_usd:
        told = f"the alert is stale: it costs {instance.monthly_usd} USD a month by now"
    else:
        return None
    return Analysis(action=Action.MONITOR, confidence=1, because=told)


_IDLE = re.compile(
    r"\b(?:idle|unused|abandoned|forgotten|no (?:traffic|connections|requests)|0 ?%)", re.IGNORECASE
)
_TOO_LARGE = re.compile(
    r"\b(?:over-?provisioned|oversized|too large|rightsiz\w*|under-?used|underutili[sz]ed)",
    re.IGNORECASE,
)
_DISPOSABLE = re.compile(
    r"(?<![a-z])(?:dev|development|tests?|testing|sandbox|staging|demo|tmp)(?![a-z])", re.IGNORECASE
)
"""What an instance must be for in order to be shut down by words alone. Whole words: `latest` and
`device` say nothing of that."""


def by_words(*, alert: str, alert_usd: Decimal | None, instance: Instance) -> Analysis | None:  # noqa: ARG001  # as above
    """What the alert says, and what the instance is for."""
    text = alert[:_READ_CHARS]
    idle, large = _IDLE.search(text), _TOO_LARGE.search(text)
    tag = next((each for each in instance.tags if _DISPOSABLE.search(each)), "")
    if idle and tag:
        told = f"'{idle.group().lower()}', and it is tagged '{tag}'"
        return Analysis(action=Action.SHUTDOWN, confidence=0.8, because=told)
    if large:
        told = f"'{large.group().lower()}'"
        return Analysis(action=Action.RESIZE, confidence=0.75, because=told)
    return None


UNSURE = Analysis(action=Action.INVESTIGATE, confidence=0, because="nothing says what it is about")
PROMPT = f"""\
You look at an alert about what one cloud instance costs, and say what should be done about it:
"shutdown" when nobody needs it, "resize" when it is larger than its work, "monitor" when all is as
it should be, "investigate" when a person has to look. You only advise; nothing is done by you.
Never advise to shut down what serves production, or is critical. With a confidence below {BAR} say
"investigate". `because` is one sentence for whoever reads it at night."""

BY_RULES = Decision(
    name="analyse",
    prompt=PROMPT,
    answer=Analysis,
    rules=(by_state, by_words),
    fallback=UNSURE,
    bar=BAR,
)
BY_MODEL = Decision(
    name="analyse",
    prompt=PROMPT,
    answer=Analysis,
    rules=(by_state,),
    model=by_language_model(ASSISTANT),
    fallback=UNSURE.model_copy(update={"because": "the language model had no answer that fits"}),
    bar=BAR,
)


def rail(analysis: Analysis, instance: Instance) -> str | None:
    """Why an advice is not followed, whoever gave it; None: it may be."""
    if analysis.action in {Action.MONITOR, Action.INVESTIGATE}:
        return None
    if analysis.confidence < BAR:
        return f"only {analysis.confidence:.0%} sure, where {BAR:.0%} are needed"
    tag = protecting(instance.tags) if analysis.action is Action.SHUTDOWN else None
    return f"it is tagged '{tag}', so it is never shut down" if tag else None
