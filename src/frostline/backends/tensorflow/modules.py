"""What TensorFlow's own modules hold to be asked about; models of Keras 2 are such modules, too."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from frostline.backends.variables_in import Found, Leaf


def variables_in(holder: Any) -> Found | None:
    """Return the variables of a module by their names; None for anything else."""
    if not isinstance(holder, tf.Module):
        return None
    return Found(tuple(Leaf(v.name.removesuffix(":0"), v, v.trainable) for v in holder.variables))
