"""Models in files that Keras opens plainly and Frostline with every decision in place."""
