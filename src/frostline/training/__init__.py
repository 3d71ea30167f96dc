"""Training under a plan."""
