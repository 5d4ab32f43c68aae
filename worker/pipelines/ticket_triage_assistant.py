"""The assistant of a triage: a language model's second opinion, and its draft of a reply.

Its opinion can make sure what the classifier was unsure of, and nothing else: it names no category
of its own, no queue and no priority. Its draft is held against what the ticket and the articles
say; who sends it is a person or a desk.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import StringConstraints

from tools.kb import Article
from worker.decision import Answer, Decision
from worker.pipelines.ticket_triage_reply import REPLY_CHARS
from worker.pipelines.ticket_triage_verdict import (
    CLASSIFY,
    Classification,
    Name,
    answered,
    by_sender,
    judged,
)
from worker.wording import by_language_model

MODEL = "default"
"""Of the settings: SLUICE_MODELS."""
SHOWN_CHARS = 6_000
"""The model reads this much of a text; what matters stands at its beginning."""
_WEB = re.compile(
    r"://|https?:|www\.|@|[\w-]\.[^\W\d_]{2,}|(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}", re.IGNORECASE
)
"""In whatever alphabet: what a reader's mail program makes a link of."""
_DOT = "\N{IDEOGRAPHIC FULL STOP}"
_BLANK = re.compile(r"\[[^\]]*\]|\{[^}]*\}|<[^>]*>")
_NUMBER = re.compile(r"\d+")
_AROUND = ".,;:!?()\"'"


class Weighed(Classification):
    """A classification, and what there was to choose from."""

    categories: tuple[Name, ...] = ()


class Opinion(Answer):
    category: Name


class Draft(Answer):
    text: Annotated[str, StringConstraints(strip_whitespace=True, max_length=REPLY_CHARS)]
    """Empty: nobody has one."""


def by_machine(*, subject: str, text: str, model: str | None) -> Weighed | None:
    known = by_sender(subject=subject, text=text, model=model)
    return None if known is None else Weighed(**known.model_dump())


async def by_classifier(*, subject: str, text: str, model: str | None) -> Weighed:
    verdict = await judged(subject, text, model)
    known = answered(verdict, subject=subject, text=text)
    return Weighed(**known.model_dump(), categories=verdict.facts.labels)


WEIGH = Decision(
    name="classify",
    prompt=CLASSIFY.prompt,
    answer=Weighed,
    rules=(by_machine,),
    model=by_classifier,
    fallback=None,
    bar=CLASSIFY.bar,
    bits=CLASSIFY.bits,
)

SECOND = Decision(
    name="second-opinion",
    prompt=(
        "Which one of `categories` does this customer's ticket belong to? Copy its name. Be sure"
        " (a confidence of 0.8 or more) only where the ticket leaves no doubt."
    ),
    answer=Opinion,
    fallback=Opinion(category="none", confidence=0, because="the model gave no answer that fits"),
    bar=0.8,
    model=by_language_model(MODEL),
)


def confirmed(verdict: Weighed, opinion: Opinion) -> bool:
    """Whether two who did not know of each other say the same, and neither finds it strange.

    Who is not half as sure as is needed has no opinion that another could confirm: a text that
    only names a category would else choose it.
    """
    same = opinion.category == verdict.category and verdict.confidence >= verdict.bar / 2
    return verdict.in_scope and same and opinion.confidence >= SECOND.bar


def doubtful(verdict: Weighed, opinion: Opinion) -> str:
    """Why a person is asked, in one sentence."""
    return (
        f"the classifier takes it for {verdict.category!r} ({verdict.confidence:.0%} sure, and"
        f" {verdict.bar:.0%} are needed), the language model for {opinion.category!r}"
        f" ({opinion.confidence:.0%})"
    )


def strays(reply: str, *, ticket: str, ours: str) -> list[str]:
    """What a draft must not hold: links and addresses, but for ours; numbers that neither we nor
    the ticket have; blanks to fill in."""
    seen = unicodedata.normalize("NFKC", reply).replace(_DOT, ".").split()
    words = ["".join(filter(str.isprintable, each)).strip(_AROUND) for each in seen]
    links = [each for each in words if _WEB.search(each)]
    numbers = set(_NUMBER.findall(reply)) - set(_NUMBER.findall(f"{ticket} {ours}"))
    return [
        *(["a link or an address"] if any(each not in ours for each in links) else []),
        *(["numbers that nobody has named"] if numbers else []),
        *(["a blank to fill in"] if _BLANK.search(reply) else []),
    ]


def tame(
    answer: Draft, *, ticket: str, articles: Sequence[Article], draft: str, **_: Any
) -> Draft | None:
    """The draft is left out where it strays."""
    ours = " ".join([draft, *(f"{each.title} {each.excerpt}" for each in articles)])
    found = strays(answer.text, ticket=ticket, ours=ours)
    if not found:
        return None
    return Draft(text="", confidence=0, because=f"the model's draft had {' and '.join(found)}")


DRAFT = Decision(
    name="draft",
    prompt=(
        "Improve this draft of a reply to a customer's ticket, in the ticket's language. Say only"
        " what the draft and the articles say. No links, no numbers of your own, no promises, no"
        " blanks to fill in. Put the whole reply into `text`."
    ),
    answer=Draft,
    fallback=Draft(text="", confidence=0, because="the model gave no draft that fits"),
    bar=0.0,
    after=(tame,),
    model=by_language_model(MODEL),
)
