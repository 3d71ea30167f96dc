"""Plans in training loops that users write themselves."""
