"""Training runs that a config file describes: `frostline fit CONFIG`."""
