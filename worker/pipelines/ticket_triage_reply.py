"""The draft of a reply: polite sentences in the ticket's language, and what the articles know."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tools.kb import Article

REPLY_CHARS = 4_000
_READ_CHARS = 1_000
_FEWEST = 2
"""Words of another language that must occur before it is taken for the ticket's."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class _Letter(NamedTuple):
    marks: frozenset[str]
    """Words that occur in nearly every text of this language, and in few of another."""
    text: str
    see: str


_ENGLISH = _Letter(
    frozenset(),
    "Hello,\n\nthank you for your message. It is with our {queue} team now.",
    "More about this: {title}",
)
_LETTERS = {
    "de": _Letter(
        _words("ich und nicht ist das die der ein eine bitte habe mein meine sie wir auf"),
        "Guten Tag,\n\nvielen Dank für Ihre Nachricht. Sie liegt jetzt bei unserem Team {queue}.",
        "Mehr dazu (auf Englisch): {title}",
    ),
    "fr": _Letter(
        _words("je vous les est une pas mon votre bonjour merci pour dans que et ma le"),
        "Bonjour,\n\nmerci pour votre message. Notre équipe {queue} s'en occupe.",
        "Pour en savoir plus (en anglais) : {title}",
    ),
    "es": _Letter(
        _words("el los una mi por para que está hola gracias pero muy con y ha pedido"),
        "Hola:\n\ngracias por su mensaje. Ya lo tiene nuestro equipo {queue}.",
        "Más información (en inglés): {title}",
    ),
    "it": _Letter(
        _words("il che non una mio per sono ho buongiorno grazie ma è della di mi un"),
        "Buongiorno,\n\ngrazie per il suo messaggio. Lo segue ora il nostro team {queue}.",
        "Per saperne di più (in inglese): {title}",
    ),
    "nl": _Letter(
        _words("ik het een niet mijn van op voor dat is maar jullie graag heb de"),
        "Goedendag,\n\nbedankt voor uw bericht. Het ligt nu bij ons team {queue}.",
        "Meer hierover (in het Engels): {title}",
    ),
    "pt": _Letter(
        _words("o os uma não meu minha para que está olá obrigado obrigada em com mas do"),
        "Olá,\n\nobrigado pela sua mensagem. Está agora com a nossa equipa {queue}.",
        "Mais informações (em inglês): {title}",
    ),
    "pl": _Letter(
        _words("nie się jest na proszę mam moje w z że do dzień dobry dziękuję po"),
        "Dzień dobry,\n\ndziękujemy za wiadomość. Zajmuje się nią teraz zespół {queue}.",
        "Więcej na ten temat (po angielsku): {title}",
    ),
}  # fmt: skip
_ENGLISH_MARKS = _words("the i you my is and it to not have a was for of your please in")


def language(text: str) -> str:
    """The language whose commonest words a text has most of; English when none stands out."""
    said = re.findall(r"\w+", text[:_READ_CHARS].lower())
    counts = {name: sum(word in letter.marks for word in said) for name, letter in _LETTERS.items()}
    best = max(counts, key=lambda name: counts[name])
    english = sum(word in _ENGLISH_MARKS for word in said)
    return best if counts[best] >= max(_FEWEST, english + 1) else "en"


def draft(
    *, text: str, category: str, queue: str, urgent: bool, articles: Sequence[Article]
) -> str:
    """A reply to begin with. A person or a desk sends it, never a run."""
    tongue = language(text)
    letter = _LETTERS.get(tongue, _ENGLISH)
    parts = [letter.text.format(queue=queue)]
    if tongue == "en" and urgent:
        parts.append("We treat it as urgent and look at it before anything else.")
    best = next((each for each in articles if each.fits(category)), None)
    if best and tongue == "en":
        parts.append(best.excerpt)
    if best:
        parts.append(letter.see.format(title=best.title))
    return "\n\n".join(parts)[:REPLY_CHARS]
