"""Optimizers, losses and metrics by what a config says of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from frostline.errors import FrostlineError, RunError, listed, near, text_of
from frostline.model.user_code import called, find_function

Kind = Literal["optimizer", "loss", "metric", "learning-rate schedule"]

_BY_SHAPE = {"loss": ("crossentropy", "ce"), "metric": ("accuracy", "acc", "crossentropy", "ce")}
"""Names that Keras resolves when it sees the shapes."""


def make(kind: Kind, given: Any, folder: Path) -> Any:
    """Make an optimizer, a loss or a metric.

    Args:
        kind: Which of them.
        given: A name of Keras; `module:function`; a mapping with `name` and its arguments; or Keras's own
            `{class_name: ..., config: ...}`.
        folder: Where modules are looked for.

    Returns:
        What `model.compile` takes: an object, a function, or a name that Keras resolves by shapes.

    Raises:
        RunError: There is none such, or its arguments are wrong; names what comes near.
    """
    _require_finite(kind, given)
    if isinstance(given, Mapping) and "class_name" in given:
        return _deserialized(kind, given)
    if isinstance(given, Mapping):
        arguments = dict(given)
        name = arguments.pop("name", None)
    else:
        name, arguments = given, {}
    if not isinstance(name, str) or not name:
        raise RunError(
            f"this is not a valid {kind}",
            received=repr(given),
            expected="a name, a mapping such as {name: adamw, learning_rate: 1e-3}, or module:function",
        )
    if ":" in name:
        function = find_function(name, folder, wanted=f"a {kind}, or module:function")
        makes = kind in ("optimizer", "learning-rate schedule") or isinstance(function, type) or arguments
        return called(function, name, **arguments) if makes else function
    if name.lower() in _BY_SHAPE.get(kind, ()) and not arguments:
        return name.lower()
    return _of_keras(kind, name, arguments, folder)


def _require_finite(kind: Kind, given: Any, name: str = "") -> None:
    """Refuse NaN and infinity among the settings of what updates weights: all of them would become so."""
    if isinstance(given, Mapping) and kind in ("optimizer", "learning-rate schedule"):
        for key, value in given.items():
            _require_finite(kind, value, str(key))
    elif isinstance(given, float) and not math.isfinite(given):
        raise RunError(
            f"the {name or 'setting'} of the {kind} is not a finite number",
            received=str(given),
            expected="a number such as 1e-3",
        )


def is_sparse(loss: Any) -> bool:
    """Whether a loss takes numbers of classes as its targets."""
    return _name_of(loss) == "sparsecategoricalcrossentropy"


def is_binary(loss: Any) -> bool:
    """Whether a loss takes targets between 0 and 1."""
    return _name_of(loss) in ("binarycrossentropy", "binaryfocalcrossentropy")


def is_elementwise(loss: Any) -> bool:
    """Whether a loss is one of Keras's that take targets of the shape of the output."""
    name = _name_of(loss)
    return name not in ("sparsecategoricalcrossentropy", "ctc") and name in _classes("loss")


def is_categorical(loss: Any) -> bool:
    """Whether a loss takes one row of class probabilities as the target of a sample."""
    return _name_of(loss) in ("categoricalcrossentropy", "categoricalfocalcrossentropy")


def _name_of(loss: Any) -> str:
    if isinstance(loss, str):
        import keras

        loss = keras.losses.get(loss) if loss not in _BY_SHAPE["loss"] else loss
    plain = getattr(loss, "__name__", None) or (loss if isinstance(loss, str) else type(loss).__name__)
    return _plain(plain)


def _of_keras(kind: Kind, name: str, arguments: dict[str, Any], folder: Path) -> Any:
    classes = _classes(kind)
    found = classes.get(_plain(name)) or classes.get(_plain(_full_name(kind, name)))
    if found is None:
        close = near(name, sorted({_spelled(cls) for cls in classes.values()}))
        raise RunError(
            f"Keras has no {kind} {name!r}",
            remedy=f"did you mean {listed(close)}?" if close else "name one of your own as module:function",
        )
    parameters = inspect.signature(found).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for argument in arguments:
        if argument not in parameters and not (anything and kind == "optimizer" and argument in _BASE):
            known = [n for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
            close = near(argument, known, most=1)
            raise RunError(
                f"the {kind} {name} has no argument {argument!r}",
                expected=f"any of {listed(known, most=20)}",
                remedy=f"did you mean {close[0]!r}?" if close else None,
            )
    rate = arguments.get("learning_rate")
    if kind == "optimizer" and isinstance(rate, Mapping):
        arguments = {**arguments, "learning_rate": make("learning-rate schedule", rate, folder)}
    try:
        return found(**arguments)
    except Exception as error:
        received = ", ".join(f"{key}: {value!r}" for key, value in arguments.items()) or "no arguments"
        raise RunError(f"Keras refuses the {kind} {name}: {_sentence(error)}", received=received) from error


_BASE = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)
"""Arguments of every optimizer, also of those that pass them on unseen."""


def _deserialized(kind: Kind, given: Mapping[str, Any]) -> Any:
    import keras

    homes = {"optimizer": keras.optimizers, "loss": keras.losses, "metric": keras.metrics}
    home = homes.get(kind, keras.optimizers.schedules)
    try:
        return home.deserialize({"config": {}, **given})
    except FrostlineError:
        raise
    except Exception as error:
        raise RunError(
            f"Keras cannot make the {kind} {given['class_name']!r}",
            received=f"{type(error).__name__}: {_sentence(error)}",
            expected="{class_name: AdamW, config: {learning_rate: 1e-3}}",
        ) from error


def _classes(kind: Kind) -> dict[str, type]:
    import keras

    home, base = {
        "optimizer": (keras.optimizers, keras.optimizers.Optimizer),
        "loss": (keras.losses, keras.losses.Loss),
        "metric": (keras.metrics, keras.metrics.Metric),
        "learning-rate schedule": (
            keras.optimizers.schedules,
            keras.optimizers.schedules.LearningRateSchedule,
        ),
    }[kind]
    return {
        _plain(name): cls
        for name, cls in vars(home).items()
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base
    }


def _full_name(kind: Kind, name: str) -> str:
    """Return what a short name such as mse stands for."""
    import keras

    if kind not in ("loss", "metric"):
        return name
    try:
        found = (keras.losses if kind == "loss" else keras.metrics).get(name)
    except ValueError:
        return name
    return getattr(found, "__name__", None) or type(found).__name__


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _spelled(cls: type) -> str:
    """Say the name of a class as Keras's strings do: `sparse_categorical_crossentropy`."""
    text = ""
    for number, sign in enumerate(cls.__name__):
        before = cls.__name__[number - 1 : number]
        text += ("_" if sign.isupper() and before.islower() else "") + sign.lower()
    return text


def _sentence(error: Exception) -> str:
    text = text_of(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
