"""The protocol as a model, walked in full.

Read in this order: state, admission, lease, call, intent, late, doubt, gate, target, promises,
model, guards, explorer.
"""
