"""Chaos from outside: nothing in production code knows of it.

Read in this order: boundaries (frames, nursery), then `python -m tests.chaos`: arena, nemesis,
load, journal, history, verdict. The files named test_* stand by themselves.
"""
