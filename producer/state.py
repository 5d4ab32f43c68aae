"""What the handlers of one API process share."""

from dataclasses import dataclass

from aiohttp import web

from config.bell import Bell
from config.settings import Settings
from models.admission import Admission
from producer.auth import Doorman
from producer.waiting import Waiting


@dataclass(frozen=True)
class State:
    settings: Settings
    admission: Admission
    bell: Bell
    doorman: Doorman
    waiting: Waiting


STATE = web.AppKey("state", State)
ANSWER_BY = web.RequestKey("answer_by", float)
"""Of a request: until when, by the loop's clock, it is answered."""
