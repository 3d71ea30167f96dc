"""What becomes of every weight of a model, and why: `audit`, `why` and the rules behind their findings."""
