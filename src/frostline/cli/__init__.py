"""The command line. `frostline --help` imports neither Keras nor a backend."""
