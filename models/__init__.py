"""The nouns, and the rules that need only rows.

Read in this order: database, run, request_key, contract, budget, admission, batcher, ledger,
review, gate, breaker, fleet, tenant, refusal.
"""
