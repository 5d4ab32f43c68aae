"""A name server of the tests: what it answers, in turn, and how often it was asked."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

_asks_the_system = socket.getaddrinfo


@dataclass
class Names:
    """Each name has a list of answers; the last one stays."""

    answers: dict[str, list[list[str]]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host, port, family=0, *more, **named):
        if host not in self.answers:
            return _asks_the_system(host, port, family, *more, **named)
        turn = self.asked.count(host)
        self.asked.append(host)
        answer = self.answers[host][min(turn, len(self.answers[host]) - 1)]
        return [
            (
                socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "",
                (each, port, 0, 0) if ":" in each else (each, port),
            )
            for each in answer
        ]  # fmt: skip


@contextmanager
def names(**answers: list[list[str]]) -> Iterator[Names]:
    """`desk=[["127.0.0.1"]]` answers for desk.test."""
    it = Names({f"{name}.test": told for name, told in answers.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", it)
        yield it
