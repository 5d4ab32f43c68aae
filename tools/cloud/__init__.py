"""A cloud's instances as targets of a run. Read in this order: form, provider, instance."""
