"""The schema's history: each step is applied once, under an advisory lock, with timeouts."""
