"""Optimizers whose trained set changes: slots, groups, memory."""
