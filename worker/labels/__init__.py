"""Where a value comes from, and what it may choose.

Read in this order: label, binding, provenance, capacity, standing, sinks.
"""
