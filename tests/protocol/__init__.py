"""The protocol as a model, walked in full.

Read in this order: state, admission, lease, call, late, doubt, target, promises, model, explorer.
"""
