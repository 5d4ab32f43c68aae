"""Everything a run may touch outside. Read in this order: tool, http, line, tickets."""
