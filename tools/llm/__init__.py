"""Language models, asked as paid reads: `model.NAME`.

Read in this order: prompt, price, outcome, language_model; then how one is asked: clients,
provider, by_openai, by_anthropic, failure, transport. Only from provider on the client library is
imported, when a model is first asked.
"""

from tools.llm.clients import close, warm
from tools.llm.language_model import language_model
from tools.llm.prompt import Completion, Finish, Prompt, Turn, most_tokens

__all__ = [
    "Completion", "Finish", "Prompt", "Turn", "close", "language_model", "most_tokens", "warm",
]  # fmt: skip
