"""Tokens: no two tries bear the same."""

import multiprocessing
import os

from worker.token import token

MANY = 2000


def test_no_two_tokens_are_the_same():
    assert len({token() for _ in range(MANY)}) == MANY


def test_a_forked_process_mints_tokens_of_its_own():
    token()
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, b"".join(token().bytes for _ in range(100)))
        os._exit(0)
    ours = {token().bytes for _ in range(100)}
    os.wait()
    told = os.read(read, 1600)

    theirs = {told[at : at + 16] for at in range(0, 1600, 16)}
    assert len(theirs) == 100
    assert not ours & theirs


def test_another_process_mints_tokens_of_its_own():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        several = pool.map(_mint, range(2), chunksize=1)

    assert len({*several[0], *several[1], token()}) == 201


def _mint(_: int) -> list[object]:
    return [token() for _ in range(100)]
