"""What Frostline asks of TensorFlow."""
