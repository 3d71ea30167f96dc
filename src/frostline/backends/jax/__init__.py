"""What Frostline asks of JAX."""
