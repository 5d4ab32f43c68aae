"""Benchmarks: what one worker and one API carry on this machine, beside raw Celery.

Read in this order: __main__, lab, meter, wire, accept, drain, latency, celery_beside, raw_celery,
facts, report.
"""
