"""Transcripts at a terminal: what a model was asked and what it said, try by try."""

from typing import Any

import orjson
from rich.text import Text

from producer.tables import plain


def transcript_lines(row: Any) -> Text:
    """One try: a line of facts, then the words. Secrets were hidden when it was written."""
    prompt, said = orjson.loads(row["prompt"]), orjson.loads(row["response"])
    facts = (
        f"  {row['tool']} ({row['asked']}, answered as {row['reported'] or '-'})"
        f"  {row['tokens_in']} + {row['tokens_out']} tokens, {row['cost_usd'].normalize():f} USD"
        f" by {row['prices']}, {row['latency_ms']} ms\n"
    )
    turns = [(each["role"], each["text"]) for each in prompt["turns"]]
    words = [("instructions", prompt["instructions"]), *turns, ("said", _said(said))]
    lines = [part for role, text in words for part in ((f"{role}: ", "dim"), f"{plain(text)}\n")]
    return Text.assemble((plain(row["step"]), "bold"), plain(facts), *lines)


def _said(response: dict[str, Any]) -> str:
    if "failure" in response:
        return f"(nothing: {response['failure']})"
    return f"({response['finish']}) {response['text']}"
