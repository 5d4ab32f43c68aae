"""Faces the outside.

Read in this order: app, auth, problems, runs, requests, reviews, waiting, client; then a triage:
rows, backlog, triage_campaign, triage, triage_results, report, triage_command.
"""
