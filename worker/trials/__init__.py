"""Trials: each guard is met by a call that it must refuse, and by one that it must let pass."""
