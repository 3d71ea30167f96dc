"""All that imports a backend: one sub-package for each, and the choice among them."""
