"""A layer that lets values through and scales or reverses the gradient."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from frostline.errors import LayerError
from frostline.layers._identity import PassesThrough, is_float, with_gradient


@keras.saving.register_keras_serializable(package="frostline")
class GradientScale(PassesThrough):
    """Passes its input on unchanged, to the bit; the gradient that comes back is multiplied by `scale`.

    A negative scale reverses the gradient, as in domain-adversarial training. A smaller learning rate is
    another thing, and a rule of a plan gives it (`lr=0.1`): Adam and its kin divide by the size of the
    gradients, so a scale of all that a weight receives does nothing there.

    Args:
        scale: Any finite number. It is compiled into the training function: it cannot change while that is
            used.
        **kwargs: As of `keras.layers.Layer`.

    Input shape:
        A float tensor of any shape, or a nest of them; integers pass.

    Output shape:
        That of the input. A mask passes unchanged.

    Raises:
        LayerError: `scale` is not a finite number.

    Source:
        Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, section 3.2.

    Example:
        >>> import numpy as np
        >>> float(GradientScale(-1.0)(np.float32(3.0)))
        3.0
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        scale = scale.item() if isinstance(scale, np.number) else scale
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale):
            raise LayerError(
                "the scale of a gradient must be a finite number",
                received=repr(scale),
                expected="such as 0.1, or -1.0 to reverse the gradient",
            )
        self.scale = float(scale)

    def call(self, inputs: Any) -> Any:
        """Return the input, with another gradient."""
        return keras.tree.map_structure(self._scaled, inputs)

    def _scaled(self, value: Any) -> Any:
        if not is_float(value):
            return value
        return with_gradient(value, lambda gradient: ops.multiply(gradient, self.scale))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return {**super().get_config(), "scale": self.scale}
