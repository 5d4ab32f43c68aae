"""Ticket desks as targets of a run. Read in this order: ticket, form, roundup, desk."""
