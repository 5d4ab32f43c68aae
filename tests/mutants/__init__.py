"""Mutants: every guard taken out in turn, and the test that notices."""
