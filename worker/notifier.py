"""The notifier: tells people, once, what needs a person now."""

import asyncio
import random
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import orjson
import structlog

from config.settings import NotifySettings
from models import notice
from models.database import TRANSIENT

log = structlog.get_logger()

_TIMEOUT_S = 10.0
_WELL = range(200, 300)


class Notifier:
    """One per worker; a notice is a row, so that however many of them look, it is sent once.

    At least once, to be exact: a worker that dies between the webhook's answer and its row's
    update sends it again, with the same id.
    """

    def __init__(self, settings: NotifySettings) -> None:
        self._every_s = settings.every_s
        self._url = settings.webhook.get_secret_value() if settings.webhook else None

    async def run(self) -> None:
        """Look and tell until cancelled."""
        while True:
            await asyncio.sleep(self._every_s * random.uniform(0.8, 1.2))  # noqa: S311  # jitter
            try:
                for kind, told in await notice.collect():
                    log.warning("notice", kind=kind, told=told)
                if self._url is not None:
                    await self._tell(self._url)
            except (*TRANSIENT, asyncpg.PostgresError) as error:  # no reason to end a worker
                log.warning("notifier.failed", error=repr(error)[:300])

    async def _tell(self, url: str) -> None:
        due = await notice.take()
        if not due:
            return
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            for each in due:
                if await self._post(session, url, each):
                    await notice.sent(each.id)

    async def _post(self, session: aiohttp.ClientSession, url: str, told: notice.Due) -> bool:
        body = orjson.dumps(
            {"id": told.id, "kind": told.kind, "text": told.told, "since": told.since}
        )
        where = urlsplit(url).hostname  # the rest may be a secret
        try:
            async with session.post(
                url, data=body, headers={"Content-Type": "application/json"}, allow_redirects=False
            ) as answer:
                if answer.status in _WELL:
                    return True
                log.warning("notice.refused", host=where, status=answer.status, notice=told.id)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.warning("notice.undelivered", host=where, error=type(error).__name__)
        return False
