"""All that imports a backend: one sub-package for each, with the same names for the same jobs.

- `dispatch`: picks the module of the backend that Keras runs on.
- `protocols`: what a module of each name has to offer.
- `machines`: refuses models on many machines, before anything is changed.
- `private`: the guard for what is read behind a backend's public names.
"""
