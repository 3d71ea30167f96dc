"""How a model holds its weights and other state, how it is loaded, and what is kept on it."""
