"""Executes runs.

Read in this order: app, ingress, intake, claim, heartbeat, sweeper, runner, pipeline, flow,
decision, gateway, turnstile, doubt, checkpoint, outcome.
"""
