"""An agent at work, to be looked at: `make demo-agent`. Read shop, then pipelines, then model."""
