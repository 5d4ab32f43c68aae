"""Flips of the gate against writers that never rest. To read: variants, writer, witness, arena,
flipper, verdict.

What was found is in docs/race.md.
"""
