"""What a plan decides for each weight of one model."""
