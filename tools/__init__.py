"""Everything a run may touch outside.

Read in this order: tool, http, egress, line, border, veil, connection, secret, tickets; then how
well they are: permit, health, patient, window, breaker, limiter, board, chart.
"""
