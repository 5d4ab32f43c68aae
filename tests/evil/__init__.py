"""A model that says anything at all, against the gateway. To read: strategies, pipelines, arena,
person, verdict.

Nothing here trusts the gateway's own words: what is judged is what the tools were given, and what
stands in the ledger.
"""
