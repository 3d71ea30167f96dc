"""Decide what trains in a Keras 3 model, see why, prove it, pay only for it.

Importing this package imports neither Keras nor a backend; each name is loaded when it is first used. What is
exported, and from where, stands in `__init__.pyi`. Keras that is imported later, by whomever, runs on a
backend that is installed.
"""

import lazy_loader

from frostline.before_keras import wait_for_keras

wait_for_keras()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
