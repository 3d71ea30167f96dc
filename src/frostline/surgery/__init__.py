"""Models that are made anew from old ones."""
