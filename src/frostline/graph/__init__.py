"""The gradient graph: what depends on what, and through which of it a gradient comes back.

`ir` is the neutral form, `flow` the analysis on it, `read` and `from_*` fill it from a running backend.
"""
