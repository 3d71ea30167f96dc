"""Guards around a training: against flags that callbacks change, and against layers that a call makes.

Keras ignores flags that change while `fit` runs on TensorFlow, obeys or raises on PyTorch, and on JAX loses
values or puts them into other layers. Here they are set back before Keras sees them, and the training stops
with an error that says what to do, on every backend alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from frostline._keras.calls import entry_layer
from frostline._keras.methods import patched
from frostline.errors import LayerInCallError, TrainingError, listed
from frostline.model.inventory import Inventory
from frostline.trainability.plan_on_model import put_flags_right
from frostline.training.model_callback import ModelCallback


class FlagGuard(ModelCallback):
    """Comes after all other callbacks and sees whether one of them changed a flag between epochs."""

    def check(self) -> None:
        """Set changed flags back, and raise `TrainingError` where there were any."""
        model = self.trained_model
        if changed := put_flags_right(model):
            raise TrainingError(
                f"a callback changed trainable flags of the model {model.name!r} while it was trained",
                received=f"changed flags of {listed(changed)}; they were reset to what the plan says",
                remedy="call frostline.apply(model, plan) in the callback, or give fit a Schedule",
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """Check."""
        self.check()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Check."""
        self.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check."""
        self.check()


class StepwiseFlagGuard(FlagGuard):
    """The same between steps, for trainings whose callbacks look at steps in any case."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Check."""
        self.check()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check."""
        self.check()


def guarded(callbacks: Any) -> list[Any]:
    """Return the callbacks of a training with a guard behind them.

    Args:
        callbacks: What the user gave to `fit`: None, a callback, a list of them, or a `CallbackList`.

    Returns:
        The callbacks and the guard; nothing where there are no callbacks.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    every = [callback for callback in keras.tree.flatten(callbacks) if callback is not None]
    if not every:
        return []
    return [*every, StepwiseFlagGuard() if _look_at_steps(every) else FlagGuard()]


def _look_at_steps(callbacks: Sequence[Any]) -> bool:
    base = keras.callbacks.Callback
    names = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    # What Keras may call from another thread, when it suits it, does not change flags.
    callbacks = [c for c in callbacks if not getattr(c, "async_safe", False)]
    # A LambdaCallback holds functions of its own in place of methods.
    methods = ((getattr(getattr(c, name), "__func__", None), name) for c in callbacks for name in names)
    return any(method is not getattr(base, name) for method, name in methods)


@contextmanager
def layers_made_in_call(model: Any, inventory: Inventory) -> Iterator[None]:
    """Raise `LayerInCallError` where the model makes weights of a layer that it does not own.

    TensorFlow refuses such a layer with an error about singleton variables; JAX and PyTorch draw fresh
    random weights at every call, train none of them and say nothing.

    Args:
        model: The model that is trained.
        inventory: Its layers, as they were before.
    """
    known = {id(node.layer) for node in inventory.layers}
    found: list[LayerInCallError] = []
    original = keras.Layer.add_weight

    def add_weight(layer: Any, *args: Any, **kwargs: Any) -> Any:
        # Keras on JAX calls what is in a model without calling the model.
        if id(layer) not in known and id(entry_layer()) in known:
            found.append(_layer_error(model, layer))
            raise found[0]
        return original(layer, *args, **kwargs)

    with patched(keras.Layer, add_weight=add_weight):
        try:
            yield
        except Exception as error:
            if found and error is not found[0]:
                # Keras and tf.function wrap what is raised inside a call.
                raise found[0] from error
            raise


def _layer_error(model: Any, layer: Any) -> LayerInCallError:
    return LayerInCallError(
        f"the model {model.name!r} makes the layer {layer.name!r} ({type(layer).__name__}) while it is "
        "called, so its weights are new at every call and nothing trains or saves them",
        expected="layers made once, in __init__ or build",
        remedy=f"set self.{layer.name} = keras.layers.{type(layer).__name__}(...) in __init__ and call it "
        "in call",
    )
