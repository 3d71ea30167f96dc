"""Only what training changed, as values that replace those of a base."""
