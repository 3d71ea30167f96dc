"""What Frostline asks of PyTorch."""
