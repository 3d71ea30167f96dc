"""A layer that lets values through and no gradient."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from frostline.layers._identity import PassesThrough


@keras.saving.register_keras_serializable(package="frostline")
class StopGradient(PassesThrough):
    """Passes its input on unchanged; nothing in front of it gets a gradient through it.

    To freeze weights, use a plan: it spares the optimizer too. This layer cuts one route of several, as
    between the two branches of a siamese network.

    Args:
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        A tensor of any shape and dtype, or a nest of them.

    Output shape:
        That of the input. A mask passes unchanged.

    Example:
        >>> inputs = keras.Input((3,))
        >>> model = keras.Model(inputs, keras.layers.Dense(2)(StopGradient()(inputs)))
        >>> model.output_shape
        (None, 2)
    """

    def call(self, inputs: Any) -> Any:
        """Return the input, cut from what made it."""
        return keras.tree.map_structure(ops.stop_gradient, inputs)
