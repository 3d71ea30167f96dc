"""Parametrizations that change a whole weight by few numbers: low rank, scales."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from frostline.errors import ParametrizationError
from frostline.files.document import ABSENT, StrictData
from frostline.parametrization.base import Parametrization


class Adapter(Parametrization):
    """Changes a whole weight by few numbers. In plan files it stands under `via`, by its class's name."""

    in_plans: ClassVar[type[StrictData]]
    """What a plan file may say of its settings."""
    summary: ClassVar[str]
    """What it is, for the JSON Schema."""
    example: ClassVar[str]
    """Its settings in a plan file, for messages."""


class LowRankData(StrictData):
    """A trained update of low rank (LoRA)."""

    rank: Annotated[int, Field(ge=1)] = Field(8, description="The rank of the update.")
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        ABSENT, description="The update is scaled by alpha / rank; by default it is the rank."
    )
    seed: int = Field(ABSENT, description="For the start of the update.")


@dataclass(frozen=True, eq=False)
class LowRank(Adapter):
    """Adds a trained matrix of low rank to a frozen weight (LoRA): `base + alpha / rank * A @ B`.

    A weight with more than two axes counts as a matrix of all axes but the last by the last one, so the
    update of a convolution has its rank between inputs and output channels. `A` starts at random, uniform
    within `1 / sqrt(inputs)`, and `B` at zero, as in the authors' implementation. There is no dropout. Both
    have the dtype of the weight, which under mixed precision is float32.

    Attributes:
        rank: Columns of `A` and rows of `B`.
        alpha: The update is scaled by `alpha / rank`. By default it is the rank, so the scale is 1.
        seed: For the start of `A`; by default that of `keras.utils.set_random_seed`.

    Source:
        Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, https://arxiv.org/abs/2106.09685.

    Example:
        >>> import keras, numpy as np
        >>> parts = LowRank(rank=2).start(keras.ops.ones((6, 4)))
        >>> {name: tuple(part.shape) for name, part in parts.items()}
        {'lora_a': (6, 2), 'lora_b': (2, 4)}
    """

    in_plans: ClassVar[type[StrictData]] = LowRankData
    summary: ClassVar[str] = "An update of low rank (LoRA)."
    example: ClassVar[str] = "{rank: 8, alpha: 16}"

    rank: int = 8
    alpha: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Take NumPy's numbers as Python's."""
        for name in ("rank", "alpha", "seed"):
            if isinstance(value := getattr(self, name), np.number):
                object.__setattr__(self, name, value.item())

    def check(self, shape: tuple[int, ...], dtype: str) -> None:
        """Raise `ParametrizationError` where a weight of that shape has no update of this rank."""
        if len(shape) < 2:
            raise ParametrizationError(
                "a low-rank update needs a weight with two axes or more",
                received=f"{self}; a weight of shape {shape}",
                remedy="train it as a whole, or with Scale()",
            )
        most = min(math.prod(shape[:-1]), shape[-1])
        if not isinstance(self.rank, int) or isinstance(self.rank, bool) or not 1 <= self.rank <= most:
            raise ParametrizationError(
                "the rank does not fit the weight",
                received=f"rank={self.rank!r}; a weight of shape {shape}",
                expected=f"a whole number from 1 to {most}",
            )
        alpha = self.alpha
        if alpha is not None and not (isinstance(alpha, int | float) and 0 < alpha < math.inf):
            raise ParametrizationError(
                "alpha must be a positive number", received=f"alpha={alpha!r}", expected="such as 16"
            )
        if self.seed is not None and (not isinstance(self.seed, int) or isinstance(self.seed, bool)):
            raise ParametrizationError(
                "the seed must be a whole number",
                received=f"seed={self.seed!r}",
                expected="such as 1, or None",
            )

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return (self.rank if self.alpha is None else self.alpha) / self.rank

    def start(self, weight: Any) -> Mapping[str, Any]:
        """Return a random `A` and a `B` of zeros."""
        import keras

        *inputs, outputs = (int(n) for n in weight.shape)
        limit = 1 / math.sqrt(math.prod(inputs))
        # Drawn alike for each dtype, so that one seed means one start, but for rounding.
        a = keras.random.uniform(
            (*inputs, self.rank), minval=-limit, maxval=limit, dtype="float32", seed=self.seed
        )
        b = keras.ops.zeros((self.rank, outputs), dtype=weight.dtype)
        return {"lora_a": keras.ops.cast(a, weight.dtype), "lora_b": b}

    def part_shapes(self, shape: tuple[int, ...], dtype: str) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Return the shapes of `A` and `B`, which have the dtype of the weight."""
        a, b = (*shape[:-1], self.rank), (self.rank, shape[-1])
        return {"lora_a": (a, dtype), "lora_b": (b, dtype)}

    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        """Return the base and the product."""
        from keras import ops

        update = ops.matmul(parts["lora_a"], parts["lora_b"]) * self.scale
        return base + ops.cast(update, base.dtype)

    def __str__(self) -> str:
        return f"rank {self.rank}" + (f", alpha {self.alpha:g}" if self.alpha is not None else "")


class ScaleData(StrictData):
    """A trained scale along one axis (IA3)."""

    axis: int = Field(-1, description="The axis of the weight.")


@dataclass(frozen=True, eq=False)
class Scale(Adapter):
    """Multiplies a frozen weight by a trained vector along one axis (IA3); it starts at one.

    Along the last axis of a Dense kernel it scales the outputs, along the first the inputs.

    Attributes:
        axis: The axis of the weight.

    Source:
        Liu et al., Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning,
        2022, https://arxiv.org/abs/2205.05638.

    Example:
        >>> import keras
        >>> tuple(Scale().start(keras.ops.ones((6, 4)))["scale"].shape)
        (4,)
    """

    in_plans: ClassVar[type[StrictData]] = ScaleData
    summary: ClassVar[str] = "A scale along one axis (IA3)."
    example: ClassVar[str] = "{axis: -1}"

    axis: int = -1

    def check(self, shape: tuple[int, ...], dtype: str) -> None:
        """Raise `ParametrizationError` where a weight of that shape has no such axis."""
        if not isinstance(self.axis, int) or not -len(shape) <= self.axis < len(shape):
            raise ParametrizationError(
                f"the weight has no axis {self.axis!r}",
                received=f"a weight of shape {shape}",
                expected=f"an axis from {-len(shape)} to {len(shape) - 1}" if shape else "a weight with axes",
            )

    def start(self, weight: Any) -> Mapping[str, Any]:
        """Return a vector of ones."""
        from keras import ops

        return {"scale": ops.ones((int(weight.shape[self.axis]),), dtype=weight.dtype)}

    def part_shapes(self, shape: tuple[int, ...], dtype: str) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Return the shape of the vector, which has the dtype of the weight."""
        return {"scale": ((shape[self.axis],), dtype)}

    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        """Return the base, scaled."""
        from keras import ops

        shape = [1] * len(base.shape)
        shape[self.axis] = -1
        return base * ops.cast(ops.reshape(parts["scale"], shape), base.dtype)

    def __str__(self) -> str:
        return f"scale along axis {self.axis}"
