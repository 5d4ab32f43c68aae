"""What `sluice` says of pipelines, tools and guards: one command, one file."""
