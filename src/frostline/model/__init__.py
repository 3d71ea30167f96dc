"""How a model holds its weights and other state, how it is loaded, and what is kept on it.

All other packages work on an `Inventory`, by addresses. A second kind of model would join here: `addresses`
walks what Keras makes, and `inventory` says what is found in words that are not Keras's.
"""
