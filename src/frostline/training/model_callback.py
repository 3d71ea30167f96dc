"""What Frostline's own callbacks have in common."""

from __future__ import annotations

from typing import Any

import keras


class ModelCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """A callback that knows the model without touching it.

    On JAX, reading `self.model` writes the values of the running training into its variables: slow after
    every step, unsafe from another thread, and by flags that may be wrong just then.

    Attributes:
        trained_model: The model; None before training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trained_model: Any = None

    def set_model(self, model: Any) -> None:
        """Keep the model."""
        super().set_model(model)
        self.trained_model = model
