"""What cannot be parametrized is refused in full sentences, and the model is as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import frostline as fl
from frostline.errors import OptimizerError, ParametrizationError
from helpers.checks import every_call, every_flag, first_on_each, keras_fit, optimizer_state, same_arrays
from helpers.small_models import batch_norm, compiled, two_dense

KERNEL = "a/kernel"
"""4 x 3."""


class Wrong(fl.Parametrization):
    """Returns what it was made with."""

    def __init__(self, parts: Any, combined: Any = None) -> None:
        self.parts, self.combined = parts, combined

    def start(self, weight: Any) -> Mapping[str, Any]:
        return self.parts

    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        return keras.ops.convert_to_tensor(self.combined)


class Absent(fl.Parametrization):
    """Forgets to return the weight."""

    def start(self, weight: Any) -> Mapping[str, Any]:
        return {"p": np.zeros(1, "float32")}

    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        return None


REFUSED: dict[str, tuple[str, Any, str]] = {
    "rows out of range": (
        KERNEL,
        fl.Rows(slice(3, 9)),
        "row 9 is out of range: the weight has 4 rows.\n"
        "  received: 3:9\n"
        "  expected: rows from 0 to 3, or from -4 to -1 to count from the end",
    ),
    "columns out of range": (
        KERNEL,
        fl.Columns([0, 3, -5]),
        "column 3, -5 is out of range: the weight has 3 columns.\n"
        "  received: -5, 0, 3\n"
        "  expected: columns from 0 to 2, or from -3 to -1 to count from the end",
    ),
    "no rows": (
        KERNEL,
        fl.Rows(slice(4, None)),
        "this picks no row of a weight with 4.\n  received: 4:\n  expected: at least one row from 0 to 3",
    ),
    "a row twice": (
        KERNEL,
        fl.Rows([1, -3]),
        "the same row is named more than once.\n  received: 1\n  expected: every row once",
    ),
    "rows as a mask": (
        KERNEL,
        fl.Rows(np.array([True, False, True, True])),
        "rows must be given as a slice or as whole numbers.\n"
        "  received: ndarray 0, 1, 1, 1\n"
        "  expected: such as slice(10, 20), 3 or [3, 7]\n"
        "  fix:      a boolean array is a mask: Mask(array)",
    ),
    "rows as a text": (
        KERNEL,
        fl.Rows("1:3"),  # type: ignore[arg-type]
        "rows must be given as a slice or as whole numbers.\n"
        "  received: str '1:3'\n"
        "  expected: such as slice(10, 20), 3 or [3, 7]",
    ),
    "a step of zero": (
        KERNEL,
        fl.Rows(slice(0, 4, 0)),
        "the step of a slice cannot be 0.\n  received: 0:4:0",
    ),
    "bounds of a slice": (
        KERNEL,
        fl.Rows(slice(0.5, 2)),
        "the bounds of a slice of rows must be whole numbers.\n  received: 0.5:2",
    ),
    "too many axes": (
        KERNEL,
        fl.Index((0, 1, 2)),
        "an index for 3 axes does not fit a weight with 2.\n"
        "  received: block [0, 1, 2]; a weight of shape (4, 3)\n"
        "  expected: one entry for each of up to 2 axes",
    ),
    "a mask of another shape": (
        KERNEL,
        fl.Mask(np.ones((3, 4), bool)),
        "the mask does not have the shape of the weight.\n"
        "  received: a mask of shape (3, 4)\n"
        "  expected: shape (4, 3)",
    ),
    "a mask of numbers": (
        KERNEL,
        fl.Mask(np.ones((4, 3))),  # type: ignore[arg-type]
        "a mask must be a boolean array, True where an element trains.\n"
        "  received: a mask of dtype float64\n"
        "  expected: a NumPy array of shape (4, 3) and dtype bool\n"
        "  fix:      write it as a comparison: mask = scores > 0",
    ),
    "a mask that is not an array": (
        KERNEL,
        fl.Mask([[True] * 3] * 4),  # type: ignore[arg-type]
        "a mask must be a boolean array, True where an element trains.\n"
        "  received: an object of type list\n"
        "  expected: a NumPy array of shape (4, 3) and dtype bool",
    ),
    "an empty mask": (
        KERNEL,
        fl.Mask(np.zeros((4, 3), bool)),
        "the mask trains nothing: it is False everywhere.\n"
        "  expected: True where an element trains\n"
        "  fix:      freeze the weight instead; a mask with the other meaning is inverted by ~mask",
    ),
    "both rows and mask": (
        KERNEL,
        [fl.Rows([0]), fl.Mask(np.ones((4, 3), bool))],
        "this is not a parametrization.\n"
        "  received: 2 things: rows 0, mask of 12 elements\n"
        "  expected: one object such as Rows(slice(10, None)), Mask(array) or LowRank(rank=8)\n"
        "  fix:      name all elements in one Index or Mask: a weight has one parametrization",
    ),
    "a class": (
        KERNEL,
        fl.LowRank,
        "this is not a parametrization.\n"
        "  received: the class LowRank itself\n"
        "  expected: one object such as Rows(slice(10, None)), Mask(array) or LowRank(rank=8)",
    ),
    "a rank too high": (
        KERNEL,
        fl.LowRank(rank=4),
        "the rank does not fit the weight.\n"
        "  received: rank=4; a weight of shape (4, 3)\n"
        "  expected: a whole number from 1 to 3",
    ),
    "an alpha below zero": (
        KERNEL,
        fl.LowRank(rank=1, alpha=-1),
        "alpha must be a positive number.\n  received: alpha=-1\n  expected: such as 16",
    ),
    "low rank of a vector": (
        "a/bias",
        fl.LowRank(rank=1),
        "a low-rank update needs a weight with two axes or more.\n"
        "  received: rank 1; a weight of shape (3,)\n"
        "  fix:      train it as a whole, or with Scale()",
    ),
    "an axis that is not there": (
        KERNEL,
        fl.Scale(axis=2),
        "the weight has no axis 2.\n  received: a weight of shape (4, 3)\n  expected: an axis from -2 to 1",
    ),
    "an address that is not there": (
        "a/kernle",
        fl.Rows([0]),
        "the model 'two_dense' has no weight 'a/kernle'.\n"
        "  expected: the address of one weight, not a pattern\n"
        "  fix:      did you mean a/kernel, b/kernel?",
    ),
    "an address that is not text": (
        7,
        fl.Rows([0]),
        "the address of a weight must be a string.\n"
        "  received: an object of type int\n"
        "  expected: such as 'tokens/embeddings'",
    ),
    "parts without names": (
        KERNEL,
        Wrong([np.zeros(1)]),
        "Wrong.start must return the parts by name.\n"
        "  received: 1 things: [0.]\n"
        "  expected: a dict with at least one part; names of letters, digits and _",
    ),
    "a name with a slash": (
        KERNEL,
        Wrong({"a/b": np.zeros(1, "float32")}),
        "Wrong.start must return the parts by name.\n"
        "  received: the names 'a/b'\n"
        "  expected: a dict with at least one part; names of letters, digits and _",
    ),
    "another shape": (
        KERNEL,
        Wrong({"p": np.zeros(1, "float32")}, np.zeros((3, 4), "float32")),
        "Wrong.combine must return a tensor like the weight.\n"
        "  received: shape (3, 4), dtype float32\n"
        "  expected: shape (4, 3), dtype float32",
    ),
    "nothing combined": (
        KERNEL,
        Absent(),
        "Absent.combine must return a tensor like the weight.\n  received: an object of type NoneType",
    ),
    "whole numbers to train": (
        KERNEL,
        Wrong({"p": np.zeros(1, "int32")}),
        "Wrong.start must return floating-point numbers, which alone can train.\n  received: p: int32",
    ),
    "another weight before training": (
        KERNEL,
        Wrong({"p": np.zeros(1, "float32")}, np.full((4, 3), 7, "float32")),
        "Wrong would change 'a/kernel' before any training.\n"
        "  received: 12 of 12 elements that combine does not give back\n"
        "  expected: with the parts that start returns, combine returns the weight itself",
    ),
    "a seed that is none": (
        KERNEL,
        fl.LowRank(rank=1, seed="x"),
        "the seed must be a whole number.\n  received: seed='x'\n  expected: such as 1, or None",
    ),
}


def everything(model: keras.Model) -> tuple[Any, ...]:
    """All that a parametrization changes, as it is now."""
    attributes = {node.address: dict(vars(node.layer)) for node in fl.inventory(model).layers}
    kept = {address: set(held) for address, held in attributes.items()}
    weights = [(v.path, type(v), v.trainable) for v in model.weights]
    return every_flag(model), every_call(model), weights, kept, [id(v) for v in model.weights]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """One model for all cases, since none may change it."""
    model = compiled(two_dense(), optimizers.Adam(0.1))
    keras_fit(model)
    return model


@pytest.mark.parametrize("case", first_on_each(REFUSED))
def test_misuse_is_refused_and_changes_nothing(model: keras.Model, case: str) -> None:
    address, how, message = REFUSED[case]
    before, weights, state = everything(model), model.get_weights(), optimizer_state(model)
    with pytest.raises(ParametrizationError) as caught:
        fl.parametrize(model, address, how)
    assert str(caught.value) == message
    assert everything(model) == before
    assert same_arrays(model.get_weights(), weights)
    assert same_arrays(optimizer_state(model), state)
    keras_fit(model)


def test_numbers_and_arrays_of_numpy_are_taken_as_they_are_now() -> None:
    mask, rows = np.eye(4, 3, dtype=np.bool_), np.array([1, 2])
    hows = fl.Mask(mask), fl.Rows(rows)
    mask[:], rows[0] = True, 3
    assert [str(how) for how in hows] == ["mask of 3 elements", "rows 1, 2"]
    put = fl.parametrize(two_dense(), KERNEL, fl.LowRank(np.int64(2), alpha=np.float32(4), seed=np.int64(1)))
    assert put.how == fl.LowRank(2, 4.0, 1)
    assert fl.layers.GradientScale(np.float32(0.5)).get_config()["scale"] == 0.5


def refusal(model: Any, address: str, how: Any) -> str:
    before = everything(model)
    with pytest.raises(ParametrizationError) as caught:
        fl.parametrize(model, address, how)
    assert everything(model) == before
    return str(caught.value)


def test_parametrizations_are_not_nested() -> None:
    model = two_dense()
    fl.parametrize(model, KERNEL, fl.Rows([0]))
    assert refusal(model, KERNEL, fl.LowRank(1)) == (
        "'a/kernel' is parametrized already.\n"
        "  received: rank 1, on top of rows 0\n"
        "  expected: a plain weight: parametrizations are not nested\n"
        "  fix:      remove the first one, or combine both in one Index or Mask"
    )


def test_statistics_do_not_train() -> None:
    assert refusal(batch_norm(), "bn/moving_mean", fl.Rows([0])) == (
        "'bn/moving_mean' is not a weight that an optimizer trains.\n"
        "  received: a variable of the kind 'statistic'\n"
        "  expected: a weight made by add_weight(trainable=True)"
    )


def test_quantized_layers_are_refused() -> None:
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="a")])
    model.get_layer("a").quantize("int8")
    assert refusal(model, "a/bias", fl.Rows([0])) == (
        "'a/bias' belongs to a quantized layer, whose numbers do not train.\n"
        "  received: 'a', quantized as 'int8'\n"
        "  fix:      parametrize first, merge after training, then quantize; or use the layer's own "
        "enable_lora"
    )


class Counts(layers.Layer):
    """Holds whole numbers as a weight."""

    def build(self, input_shape: Any) -> None:
        self.counts = self.add_weight(shape=(3,), dtype="int32", initializer="zeros", name="counts")

    def call(self, inputs: Any) -> Any:
        return inputs


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch itself refuses them")
def test_whole_numbers_are_refused() -> None:
    model = keras.Sequential([keras.Input((3,)), Counts(name="c")])
    assert refusal(model, "c/counts", fl.Rows([0])) == (
        "'c/counts' holds whole numbers, which do not train.\n"
        "  received: dtype int32\n"
        "  expected: a dtype of floating-point numbers"
    )


@pytest.mark.parametrize(
    ("constraint", "how", "received"),
    [
        ("non_neg", fl.LowRank(1), "the constraint NonNeg, on the weight and not on its parts"),
        (
            "max_norm",
            fl.Rows([0]),
            "the constraint MaxNorm, which combines trained and frozen elements",
        ),
        (
            keras.constraints.UnitNorm(axis=-1),
            fl.Mask(np.eye(4, 3) > 0),
            "the constraint UnitNorm, which combines trained and frozen elements",
        ),
    ],
)
def test_constraints_that_parts_alone_cannot_keep_are_refused(
    constraint: Any, how: Any, received: str
) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_constraint=constraint, name="a")])
    assert refusal(model, KERNEL, how) == (
        f"the constraint of 'a/kernel' cannot be combined with {how}.\n"
        f"  received: {received}\n"
        "  expected: NonNeg, or a norm along axes that the trained elements have in full\n"
        "  fix:      build the layer without the constraint"
    )


class Hidden(optimizers.SGD):
    """Keeps a number that belongs to no weight, so it cannot be brought under other weights."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.extra = {"count": self.add_variable(shape=(2,), name="strange")}


def test_an_optimizer_that_cannot_follow_leaves_the_model_as_it_was() -> None:
    model = compiled(two_dense(), Hidden(0.1))
    keras_fit(model)
    before, weights = everything(model), model.get_weights()
    with pytest.raises(OptimizerError) as caught:
        fl.parametrize(model, KERNEL, fl.Rows([0]))
    assert str(caught.value).startswith("the optimizer Hidden holds variables that belong to no weight")
    assert everything(model) == before
    assert same_arrays(model.get_weights(), weights)
    keras_fit(model)


def test_an_unbuilt_model_is_refused() -> None:
    model = keras.Sequential([layers.Dense(3, name="a")])
    with pytest.raises(fl.FrostlineError, match="is not built, so its weights do not exist yet"):
        fl.parametrize(model, KERNEL, fl.Rows([0]))
