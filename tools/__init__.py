"""Everything a run may touch outside.

Read in this order: tool, trust, http, answers, egress, line, border, veil, connection, secret,
tickets, mcp; then how well they are: permit, health, ward, patient, window, breaker, limiter,
board, chart.
"""
