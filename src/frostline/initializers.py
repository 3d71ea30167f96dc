"""Which initializer suits an activation, and which paper says so. The one place for that in Frostline."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from frostline.errors import LayerError, listed, near

GLOROT = (
    'Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", '
    "AISTATS 2010, equation 16"
)
HE = 'He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, equations 10 and 15'
SELF_NORMALIZING = (
    'Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks", NeurIPS 2017, section 3'
)

_GLOROT_SUITS = (
    "linear",
    "tanh",
    "hard_tanh",
    "softsign",
    "sigmoid",
    "hard_sigmoid",
    "sparse_sigmoid",
    "softmax",
    "log_softmax",
    "sparsemax",
    "glu",
)
"""What is linear about zero, saturates, or mixes several units into one."""

_SQUARES: dict[str, float] = {
    "relu": 1 / 2,
    "relu6": 1 / 2,
    "leaky_relu": (1 + 0.2**2) / 2,
    "elu": 0.644945,
    "celu": 0.644945,
    "gelu": 0.425221,
    "silu": 0.355776,
    "mish": 0.452346,
    "hard_silu": 0.331569,
    "softplus": 0.921248,
    "squareplus": 1.5,
    "sparse_plus": 0.524844,
    "log_sigmoid": 0.921248,
    "exponential": math.exp(2),
    "hard_shrink": 0.969095,
    "soft_shrink": 0.419279,
    "tanh_shrink": 0.182883,
}
"""The mean of `f(z)` squared over standard normal `z`; `test_initializers.py` integrates them."""

_KNOWN = (*_GLOROT_SUITS, "selu", *_SQUARES)
_ALSO = {"swish": "silu", "hard_swish": "hard_silu"}


@dataclass(frozen=True, slots=True)
class RecommendedInitializer:
    """An initializer for the kernel in front of an activation, with its reason.

    Weights get the variance `scale / fan`.

    Attributes:
        activation: Name of the activation.
        name: The initializer as Keras spells it; `variance_scaling` where it has no name of its own.
        scale: The numerator of the variance.
        mode: Which fan divides it: `fan_in`, or `fan_avg` for the mean of inputs and outputs.
        distribution: `truncated_normal` or `uniform`.
        source: The paper, and the place in it.
        why: The reason in one sentence.
    """

    activation: str
    name: str
    scale: float
    mode: Literal["fan_in", "fan_avg"]
    distribution: Literal["truncated_normal", "uniform"]
    source: str
    why: str

    def make(self, seed: int | None = None) -> Any:
        """Return it as a `keras.initializers.Initializer`, for `kernel_initializer=`.

        Args:
            seed: Seed; by default drawn anew, as Keras does.
        """
        import keras

        if self.name != "variance_scaling":
            return keras.initializers.get({"class_name": self.name, "config": {"seed": seed}})
        return keras.initializers.VarianceScaling(self.scale, self.mode, self.distribution, seed)

    def __str__(self) -> str:
        how = f"{self.name}: {self.distribution.replace('_', ' ')}, variance {self.scale:.4g} / {self.mode}"
        return f"{self.activation}: {how}\n  {self.why}\n  {self.source}"


def recommended_initializer(activation: str | Callable[..., Any] | None) -> RecommendedInitializer:
    """Say which initializer suits the kernel in front of an activation.

    Three cases. Linear layers and saturating activations take Glorot's, which keeps the variance of values
    and of gradients alike near zero. SELU takes LeCun's, which its fixed point requires. All others take He's
    condition: the variance `1 / (fan_in * E[f(z)^2])`, `z` standard normal, keeps the second moment of the
    values from layer to layer; for ReLU that is `he_normal`. For a function of your own the mean is found by
    numerical integration.

    Args:
        activation: The name of a Keras activation, a function that maps each element of a tensor on its own,
            or None for none.

    Returns:
        A `RecommendedInitializer`; `.make()` gives what a layer takes.

    Raises:
        LayerError: There is no such activation, or the function gives no finite positive mean square.

    Source:
        Named in the result.

    Example:
        >>> advice = recommended_initializer("relu")
        >>> advice.name, type(advice.make()).__name__
        ('he_normal', 'HeNormal')
        >>> print(recommended_initializer("gelu"))
        gelu: variance_scaling: truncated normal, variance 2.352 / fan_in
          keeps the mean square of the values from layer to layer
          He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, equations 10 and 15
    """
    name = _name(activation)
    if name in _GLOROT_SUITS:
        return RecommendedInitializer(
            name,
            "glorot_uniform",
            1.0,
            "fan_avg",
            "uniform",
            GLOROT,
            "keeps the variance of values and of gradients where the activation is nearly linear",
        )
    if name == "selu":
        return RecommendedInitializer(
            name,
            "lecun_normal",
            1.0,
            "fan_in",
            "truncated_normal",
            SELF_NORMALIZING,
            "its fixed point of mean 0 and variance 1 holds for weights of variance 1 / fan_in",
        )
    known = _SQUARES.get(name)
    square = known if known is not None else _mean_square(name, activation)
    return RecommendedInitializer(
        name,
        "he_normal" if square == 0.5 else "variance_scaling",
        1 / square,
        "fan_in",
        "truncated_normal",
        HE,
        "keeps the mean square of the values from layer to layer",
    )


def _name(activation: Any) -> str:
    """Return the name of a Keras activation, or of a function; refuse what is neither."""
    if activation is None:
        return "linear"
    if isinstance(activation, str):
        name = _ALSO.get(activation, activation)
        if name in _KNOWN:
            return name
        close = near(activation, (*_KNOWN, *_ALSO))
        raise LayerError(
            f"there is no activation {activation!r}",
            expected="the name of a Keras activation, a function, or None",
            remedy=f"did you mean {listed(close)}?" if close else f"known are {listed(_KNOWN, most=40)}",
        )
    if not callable(activation):
        raise LayerError(
            "this is no activation",
            received=f"an object of type {type(activation).__name__}",
            expected="the name of a Keras activation, a function, or None",
        )
    return _keras_name(activation) or str(getattr(activation, "__name__", type(activation).__name__))


def _keras_name(function: Callable[..., Any]) -> str | None:
    """Return the name under which Keras has this very function."""
    import keras

    name = str(getattr(function, "__name__", ""))
    return name if name in _KNOWN and getattr(keras.activations, name, None) is function else None


def _mean_square(name: str, function: Any) -> float:
    """Integrate `f(z)` squared over standard normal `z`."""
    import keras

    points = np.linspace(-12.0, 12.0, 24_001)
    weights = np.exp(-np.square(points) / 2)
    try:
        values = function(keras.ops.convert_to_tensor(points.astype("float32")))
        squares = np.square(np.asarray(keras.ops.convert_to_numpy(values), dtype="float64"))
        mean = float((weights * squares).sum() / weights.sum()) if squares.shape == points.shape else math.nan
    except Exception as error:
        raise _no_mean(name, f"it raised {type(error).__name__}: {error}") from error
    if not (math.isfinite(mean) and mean > 1e-12):
        raise _no_mean(name, f"a mean square of {mean:.4g} over standard normal inputs")
    return mean


def _no_mean(name: str, received: str) -> LayerError:
    return LayerError(
        f"no initializer follows from the activation {name!r}",
        received=received,
        expected="a function of each element of a tensor on its own, finite, and not zero throughout",
        remedy="name the initializer: kernel_initializer='glorot_uniform'",
    )
