"""A process's surroundings: the database and the broker it works with."""

from config import embedded
from config.embedded import Servers
from config.settings import Settings


def servers(settings: Settings) -> Servers:
    """The configured addresses; without any, our own servers, started when they do not run.

    Raises:
        EmbeddedError: Our own servers do not start; the sentence says why.
    """
    if settings.database_url is None:
        return embedded.start(settings.data)
    broker = settings.broker_url.get_secret_value() if settings.broker_url else None
    return Servers(settings.database_url.get_secret_value(), broker)
