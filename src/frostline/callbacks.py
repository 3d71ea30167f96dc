"""Callbacks for Keras's own `Model.fit`; `fl.fit` takes them as well.

Importing this module imports Keras; `import frostline` alone does not.

Example:
    >>> import frostline as fl
    >>> fl.callbacks.Watch(share=0.02).findings
    ()
"""

from frostline.training.watch.callback import Watch

__all__ = ["Watch"]
