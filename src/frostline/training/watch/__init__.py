"""Watching a training while it runs: what moves, what gets a gradient, which units are out of use."""
