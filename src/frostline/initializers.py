"""Which initializer suits an activation, and which paper says so. The one place for that in Frostline."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from frostline.errors import LayerError, listed, near, text_of

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
    "exponential",
)
"""What is linear about zero, saturates, mixes several units into one, or grows too fast for any variance."""

_SCALES: dict[str, float] = {
    "relu": 2.0,
    "relu6": 2.0,
    "leaky_relu": 2 / (1 + 0.2**2),
    "elu": 1.550519,
    "celu": 1.550519,
    "gelu": 2.0,
    "silu": 2.0,
    "mish": 2.0,
    "hard_silu": 2.0,
    "softplus": 1.085487,
    "squareplus": 2 / 3,
    "sparse_plus": 1.905330,
    "log_sigmoid": 1.085487,
    "hard_shrink": 1.0,
    "soft_shrink": 1.0,
    "tanh_shrink": 1.0,
}
"""What `find_scale` finds for them; `test_initializers.py` compares."""

_SHRINKING = ("gelu", "silu", "mish", "hard_silu", "hard_shrink", "soft_shrink", "tanh_shrink")
"""Those of which no scale keeps the mean square in a stable way."""

_KNOWN = (*_GLOROT_SUITS, "selu", *_SCALES)
_ALSO = {"swish": "silu", "hard_swish": "hard_silu"}
_NAMES = {2.0: "he_normal", 1.0: "lecun_normal"}


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
        how = f"{self.name}, {self.distribution.replace('_', ' ')}, variance {self.scale:.4g} / {self.mode}"
        return f"{self.activation}: {how}\n  {self.why}\n  {self.source}"


def recommended_initializer(activation: str | Callable[..., Any] | None) -> RecommendedInitializer:
    """Say which initializer suits the kernel in front of an activation.

    Three cases. Linear layers and saturating activations take Glorot's, which keeps the variance of values
    and of gradients alike near zero. SELU takes LeCun's, which its fixed point requires. All others take He's
    condition: weights of variance `1 / (fan_in * E[f(z)^2])`, `z` standard normal, keep the mean square of
    the values from layer to layer; for ReLU that is `he_normal`. Where a small excess would grow from layer
    to layer, as with GELU and SiLU, the same condition is taken for large values, to which they are ReLU:
    then no value grows, but small ones shrink. For a function of your own the means are found by numerical
    integration.

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
        >>> print(recommended_initializer("elu"))
        elu: variance_scaling, truncated normal, variance 1.551 / fan_in
          keeps the mean square of the values from layer to layer
          He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, equations 10 and 15
    """
    name, published = _identify(activation)
    if published and name in _GLOROT_SUITS:
        return RecommendedInitializer(
            name,
            "glorot_uniform",
            1.0,
            "fan_avg",
            "uniform",
            GLOROT,
            "keeps the variance of values and of gradients where the activation is nearly linear",
        )
    if published and name == "selu":
        return RecommendedInitializer(
            name,
            "lecun_normal",
            1.0,
            "fan_in",
            "truncated_normal",
            SELF_NORMALIZING,
            "its fixed point of mean 0 and variance 1 holds for weights of variance 1 / fan_in",
        )
    scale, stable = (_SCALES[name], name not in _SHRINKING) if published else find_scale(activation, name)
    return RecommendedInitializer(
        name,
        _NAMES.get(scale, "variance_scaling"),
        scale,
        "fan_in",
        "truncated_normal",
        HE,
        "keeps the mean square of the values from layer to layer"
        if stable
        else "keeps large values from growing; small ones shrink, so that deep stacks need normalization",
    )


def _identify(activation: Any) -> tuple[str, bool]:
    """Return the name of an activation, and whether it is one of Keras; refuse what is not an activation."""
    if activation is None:
        return "linear", True
    if isinstance(activation, str):
        name = _ALSO.get(activation, activation)
        if name in _KNOWN:
            return name, True
        close = near(activation, (*_KNOWN, *_ALSO))
        raise LayerError(
            f"there is no activation {activation!r}",
            expected="the name of a Keras activation, a function, or None",
            remedy=f"did you mean {listed(close)}?" if close else f"known are {listed(_KNOWN, most=40)}",
        )
    if not callable(activation):
        raise LayerError(
            "this is not an activation",
            received=f"an object of type {type(activation).__name__}",
            expected="the name of a Keras activation, a function, or None",
        )
    import keras

    name = str(getattr(activation, "__name__", type(activation).__name__))
    return name, name in _KNOWN and getattr(keras.activations, name, None) is activation


def find_scale(function: Any, name: str) -> tuple[float, bool]:
    """Find the `scale` with which weights of variance `scale / fan_in` keep the mean square of the values.

    A layer takes pre-activations of mean square q to `scale * E[f(sqrt(q) z)^2]`. The scale that keeps q = 1
    is the one if q slightly above 1 comes back to it; else the one that keeps q in the limit of large q.

    Args:
        function: A function of each element of a tensor.
        name: Its name, for messages.

    Returns:
        The scale, and whether it is the first of the two.

    Raises:
        LayerError: There is no such scale.
    """
    at_one, below, above = (q / _mean_square(function, q, name) for q in (1.0, 0.9, 1.1))
    if above >= below * (1 - 1e-4):
        return at_one, True
    far, farther = (q / _mean_square(function, q, name) for q in (1e6, 1e7))
    if abs(farther / far - 1) > 0.01:
        raise _no_scale(name, "a mean square that grows faster than that of its input, whatever the weights")
    return farther, False


def _mean_square(function: Any, q: float, name: str) -> float:
    """Integrate `f(sqrt(q) z)` squared over standard normal `z`."""
    import keras

    points = np.linspace(-12.0, 12.0, 24_001)
    weights = np.exp(-np.square(points) / 2)
    try:
        given = keras.ops.convert_to_tensor((math.sqrt(q) * points).astype("float32"))
        values = np.asarray(keras.ops.convert_to_numpy(function(given)), dtype="float64")
    except Exception as error:
        raise _no_scale(name, f"it raised {type(error).__name__}: {text_of(error)}") from error
    if values.shape != points.shape:
        raise _no_scale(name, f"a result of shape {values.shape} for an input of shape {points.shape}")
    mean = float((weights * np.square(values)).sum() / weights.sum())
    if not (math.isfinite(mean) and mean > 1e-12):
        raise _no_scale(name, f"a mean square of {mean:.4g} for standard normal inputs")
    return mean


def _no_scale(name: str, received: str) -> LayerError:
    return LayerError(
        f"no initializer follows from the activation {name!r}",
        received=received,
        expected="a function of each element of a tensor on its own, finite, and not zero throughout",
        remedy="name the initializer: kernel_initializer='glorot_uniform'",
    )
