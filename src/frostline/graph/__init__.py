"""The gradient graph: what depends on what, and through which of it a gradient comes back.

- `ir`: the neutral form, free of any framework.
- `flow`: the analysis of it.
- `reader`: what is asked of a reader and what it answers; the readers stand in `frostline.backends`.
- `watch`: runs a Keras computation without writing to a variable, and sees its layers.
- `source_lines`: finds the user's line behind an operation.
"""
