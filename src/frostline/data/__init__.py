"""Samples, read from files and functions for a training run."""
