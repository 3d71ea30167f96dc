"""`FixedBiasDense` and `FixedTransform`: training equal to models written by hand, any rank, misuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import save_file

import frostline as fl
from frostline.errors import LayerError, MatrixFileError
from frostline.layers import FixedBiasDense, FixedTransform
from helpers.layer_checks import (
    SAMPLES,
    array,
    assert_same_training,
    every_optimizer,
    full_text,
    numbers,
    train_beside_twin,
)

pytestmark = pytest.mark.every_backend

# --- training ---------------------------------------------------------------------------------


@every_optimizer
def test_fixed_bias_trains_as_a_dense_layer_and_an_addition(optimizer: str) -> None:
    bias = numbers(3)
    ours = FixedBiasDense(3, bias, activation="tanh")
    dense = keras.layers.Dense(3, use_bias=False)
    found = train_beside_twin(
        numbers(SAMPLES, 4),
        ours,
        lambda x: ops.tanh(dense(x) + bias),
        lambda: [(ours.kernel, dense.kernel)],
        optimizer,
    )
    assert_same_training(found)
    assert array(ours.bias).tobytes() == bias.tobytes()


@every_optimizer
def test_fixed_transform_trains_as_a_dense_layer_and_a_product(optimizer: str) -> None:
    matrix = numbers(2, 3)
    ours = FixedTransform(matrix, activation="sigmoid")
    dense = keras.layers.Dense(2)
    found = train_beside_twin(
        numbers(SAMPLES, 4),
        ours,
        lambda x: ops.sigmoid(ops.matmul(dense(x), matrix)),
        lambda: [(ours.kernel, dense.kernel), (ours.bias, dense.bias)],
        optimizer,
    )
    assert_same_training(found)
    assert array(ours.matrix).tobytes() == matrix.tobytes()


# --- what they take ---------------------------------------------------------------------------


def test_the_default_initializer_is_the_recommended_one() -> None:
    assert isinstance(FixedBiasDense(2, activation="relu").kernel_initializer, keras.initializers.HeNormal)
    assert isinstance(FixedTransform(np.eye(2)).kernel_initializer, keras.initializers.GlorotUniform)
    named = FixedBiasDense(2, activation="relu", kernel_initializer="ones")
    assert isinstance(named.kernel_initializer, keras.initializers.Ones)


def test_regularizers_and_constraints_of_the_kernel_hold() -> None:
    layer = FixedBiasDense(2, kernel_regularizer="l2", kernel_constraint="non_neg")
    layer.build((None, 3))
    copy = FixedBiasDense.from_config(layer.get_config())
    assert isinstance(copy.kernel_regularizer, keras.regularizers.L2)
    assert isinstance(copy.kernel_constraint, keras.constraints.NonNeg)
    assert layer.losses
    assert layer.kernel.constraint is layer.kernel_constraint


def test_a_single_number_stays_in_the_configuration() -> None:
    layer = FixedBiasDense.from_config(FixedBiasDense(2, -1.5).get_config())
    layer.build((None, 3))
    assert array(layer.bias).tolist() == [-1.5, -1.5]


@pytest.mark.parametrize("suffix", ["npy", "safetensors"])
def test_a_matrix_may_come_from_a_file(suffix: str, tmp_path: Path) -> None:
    matrix, path = numbers(2, 3), tmp_path / f"matrix.{suffix}"
    if suffix == "npy":
        np.save(path, matrix)
    else:
        save_file({"basis": matrix, "mean": numbers(3)}, path)
    layer = FixedTransform(path)
    layer.build((None, 4))
    assert array(layer.matrix).tobytes() == matrix.tobytes()


def test_tensors_and_variables_may_be_given() -> None:
    layer = FixedBiasDense(3, ops.convert_to_tensor(numbers(3)))
    layer.build((None, 2))
    assert array(layer.bias).tobytes() == numbers(3).tobytes()
    other = FixedBiasDense(3, layer.bias)
    other.build((None, 2))
    assert array(other.bias).tobytes() == numbers(3).tobytes()


# --- misuse -----------------------------------------------------------------------------------


MISUSE: dict[str, tuple[Any, str]] = {
    "bias of another size": (
        lambda: FixedBiasDense(3, [1.0, 2.0]),
        "the bias does not fit the layer.\n"
        "  received: shape (2,)\n"
        "  expected: a number, or 3 numbers, one for each unit",
    ),
    "bias of words": (
        lambda: FixedBiasDense(2, "zeros"),
        "the bias does not hold real numbers.\n"
        "  received: values of dtype <U5\n"
        "  expected: a number, or 2 numbers, one for each unit",
    ),
    "ragged bias": (
        lambda: FixedBiasDense(2, [[1.0], [1.0, 2.0]]),
        "the bias is not an array: its rows differ in length.\n"
        "  expected: a number, or 2 numbers, one for each unit",
    ),
    "bias of NaN": (
        lambda: FixedBiasDense(2, [1.0, np.nan]),
        "the bias holds a number that is not finite.\n"
        "  received: nan at [1]\n"
        "  expected: finite numbers throughout",
    ),
    "units": (
        lambda: FixedBiasDense(0),
        "units must be a whole number.\n  received: 0\n  expected: 1 or more",
    ),
    "unknown activation": (
        lambda: FixedBiasDense(2, activation="rleu"),
        "there is no activation 'rleu'.\n"
        "  expected: the name of a Keras activation, a function, or None\n"
        "  fix:      did you mean relu, relu6, glu?",
    ),
    "activation of another kind": (
        lambda: FixedBiasDense(2, activation=3),
        "this is not an activation.\n"
        "  received: an object of type int\n"
        "  expected: the name of a Keras activation, a function, or None",
    ),
    "matrix of three axes": (
        lambda: FixedTransform(np.ones((2, 2, 2))),
        "this is not a matrix.\n"
        "  received: shape (2, 2, 2)\n"
        "  expected: a matrix: two axes, real numbers, at least one row and one column",
    ),
    "no matrix": (
        lambda: FixedTransform(None),
        "the fixed matrix is missing.\n"
        "  received: matrix=None without a shape\n"
        "  expected: an array or a file; or None and its shape, where a weights file brings the values",
    ),
    "another shape": (
        lambda: FixedTransform(np.eye(2), shape=(2, 3)),
        "the fixed matrix has another shape.\n  received: (2, 2)\n  expected: (2, 3)",
    ),
    "a shape of three": (
        lambda: FixedTransform(None, shape=(2, 3, 4)),
        "the shape of the matrix must be two whole numbers.\n  received: (2, 3, 4)",
    ),
    "a text file": (
        lambda: FixedTransform("matrix.csv"),
        "'matrix.csv' is not a file with a matrix.\n  expected: an array, a .npy or a .safetensors file",
    ),
}


@pytest.mark.parametrize("make", [m for m, _ in MISUSE.values()], ids=MISUSE)
def test_misuse(make: Any, request: pytest.FixtureRequest) -> None:
    expected = MISUSE[request.node.callspec.id][1]
    with pytest.raises(LayerError) as caught:
        make()
    assert full_text(caught.value) == expected


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    with pytest.raises(MatrixFileError, match=r"^'.*cut.npy' cannot be read\.\n  received: 18 bytes; "):
        FixedTransform(tmp_path / "cut.npy")

    save_file({"a": numbers(2, 2), "b": numbers(2, 3)}, tmp_path / "two.safetensors")
    with pytest.raises(MatrixFileError) as caught:
        FixedTransform(tmp_path / "two.safetensors")
    assert full_text(caught.value) == (
        f"'{tmp_path}/two.safetensors' holds 2 matrices, not one.\n"
        "  received: tensors: a (2, 2), b (2, 3)\n"
        "  fix:      write tensor='a'"
    )
    assert FixedTransform(tmp_path / "two.safetensors", tensor="b").shape == (2, 3)
    with pytest.raises(MatrixFileError, match="has no tensor 'c'"):
        FixedTransform(tmp_path / "two.safetensors", tensor="c")

    whole = (tmp_path / "two.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-8])
    with pytest.raises(MatrixFileError, match=r"cannot be read\.\n  received: \d+ bytes; "):
        FixedTransform(tmp_path / "cut.safetensors")

    with pytest.raises(MatrixFileError) as caught:
        FixedTransform(tmp_path / "tow.safetensors")
    assert full_text(caught.value) == (
        f"there is no file '{tmp_path}/tow.safetensors'.\n"
        f"  fix:      the folder '{tmp_path}' has two.safetensors, cut.safetensors"
    )


def test_objects_in_a_npy_file_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(MatrixFileError, match="cannot be read"):
        FixedTransform(tmp_path / "objects.npy")
    np.save(tmp_path / "nan.npy", np.array([[1.0, 2.0], [3.0, np.inf]]))
    with pytest.raises(MatrixFileError) as caught:
        FixedTransform(tmp_path / "nan.npy")
    assert full_text(caught.value) == (
        f"'{tmp_path}/nan.npy' holds a number that is not finite.\n"
        "  received: inf at [1, 1]\n"
        "  expected: finite numbers throughout"
    )


def test_a_scalar_bias_shows_in_the_resolution() -> None:
    model = keras.Sequential([keras.Input((3,)), FixedBiasDense(2, 1.0, name="d")])
    resolution = fl.Plan().train("**").resolve(model)
    assert resolution["d/kernel"].status == "trains"
    assert resolution["d/bias"].status == "held"
