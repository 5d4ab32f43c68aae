"""The incident of 34 duplicate tickets, rebuilt: retrying clients, and a desk that lies about 45 %.

Read in this order: __main__, rounds, plan, clients, celery_side, raw_celery, sluice_side, tally.
"""
