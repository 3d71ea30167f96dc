"""What holds for every layer of `fl.layers`: numbers, files, masks, precision; what is held is held."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline._keras.optimizers import optimizer_targets
from frostline.model.inventory import inventory
from helpers.checks import changed, examples, values
from helpers.layer_checks import (
    BACKEND,
    CASES,
    SAMPLES,
    Case,
    array,
    data_of,
    every_case,
    exact,
    model_of,
    numbers,
    saved_and_loaded,
    weights_of,
)

EXAMPLES = examples(100, jax=15, tensorflow=15)

TOLERANCE = {"float32": 1e-5, "float64": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}


# --- numbers ----------------------------------------------------------------------------------


POLICIES = ["float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"]
if BACKEND != "jax":  # where it has to be switched on for the whole process
    POLICIES.append("float64")


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    name=st.sampled_from(sorted(CASES)),
    # Few sizes: JAX compiles each operation anew for each.
    leading=st.sampled_from(([1], [3], [3, 1], [2, 3], [2, 1, 3])),
    width=st.sampled_from((2, 4)),
    policy=st.sampled_from(POLICIES),
)
def test_numbers_shapes_and_configurations(name: str, leading: list[int], width: int, policy: str) -> None:
    """Any shape and dtype: the numbers of NumPy, in the shape and dtype announced.

    A copy made from the configuration and the weights computes the same bits.
    """
    case = CASES[name]
    x = case.inputs(*leading, width)
    layer = case.make(width, dtype=policy)
    found = layer(x)

    assert tuple(found.shape) == tuple(layer.compute_output_shape(x.shape))
    assert keras.backend.standardize_dtype(found.dtype) == layer.compute_dtype
    spec = layer(keras.Input(batch_shape=x.shape, dtype=x.dtype.name))
    assert (tuple(spec.shape), spec.dtype) == (tuple(found.shape), layer.compute_dtype)

    seen = x if case.ids else array(keras.ops.cast(x, layer.compute_dtype))
    expected = case.reference(seen, weights_of(layer))
    np.testing.assert_allclose(array(found), expected, atol=TOLERANCE[layer.compute_dtype], rtol=0.05)

    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    copy.build(x.shape)
    copy.set_weights(layer.get_weights())
    assert array(copy(x)).tobytes() == array(found).tobytes()
    assert [(v.name, v.trainable) for v in copy.weights] == [(v.name, v.trainable) for v in layer.weights]


@pytest.mark.parametrize("name", ["StopGradient", "GradientScale"])
def test_nests_and_integers_pass_unchanged(name: str) -> None:
    layer = CASES[name].make(3)
    given = {"a": numbers(2, 3), "b": [np.arange(4, dtype="int32"), np.float32(2.0)]}
    found = layer(given)
    assert exact(found["b"][0]).dtype == np.int32
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(given), strict=True):
        assert exact(one).tobytes() == np.asarray(other).tobytes()

    ids = keras.Input((4,), dtype="int32")
    assert layer(ids).dtype == "int32"


# --- what is held is held ---------------------------------------------------------------------


def harsh() -> Any:
    """An optimizer that moves all that it can reach."""
    return keras.optimizers.AdamW(0.05, weight_decay=0.5, use_ema=True, ema_momentum=0.5, global_clipnorm=0.1)


@every_case
def test_held_values_keep_their_bits_under_decay_averages_and_clipping(case: Case) -> None:
    """A plan that trains everything leaves them alone, and they have no slots."""
    model = model_of(case)
    x, y = data_of(case)
    model.compile(harsh(), "mse", run_eagerly=BACKEND == "tensorflow")
    before, marks = values(model), fl.fingerprint(model)

    run = fl.fit(model, fl.Plan().train("**"), x, y, epochs=2, batch_size=SAMPLES // 2, verbose=0)

    held = {f"layer/{name}" for name in case.held}
    trained = set(before) - held
    assert run.verification.ok
    assert changed(model, before) <= trained
    assert set(run.verification.of("held")) == held
    assert set(fl.verify(model, marks, fl.Plan().train("**")).of("trained")) <= trained
    assert {d.weight.address for d in run.resolution.statistics} == held
    assert {d.why for d in run.resolution.statistics} <= {"a constant of its layer"}
    address_of = {id(w.variable): w.address for w in inventory(model)}
    assert {address_of[id(v)] for v in optimizer_targets(model.optimizer)} == trained


@every_case
def test_a_moved_constant_is_a_violation(case: Case) -> None:
    model = model_of(case)
    plan = fl.Plan().train("**")
    marks = fl.fingerprint(model)
    for name in case.held:
        variable = next(v for v in model.get_layer("layer").weights if v.name == name)
        variable.assign(exact(variable) + 1)
    broken = fl.verify(model, marks, plan)
    assert set(broken.of("changed")) == {f"layer/{name}" for name in case.held}
    assert broken.ok == (not case.held)


def test_a_plan_cannot_train_what_a_layer_holds() -> None:
    model = model_of(CASES["PretrainedEmbedding, frozen"])
    with pytest.raises(fl.FrostlineError) as caught:
        fl.Plan().train("layer/**").resolve(model)
    assert str(caught.value) == (
        "rule 1 (train 'layer/**') picks only statistics, which no optimizer trains.\n"
        "  received: layer/embeddings\n"
        "  expected: weights made by add_weight(trainable=True)\n"
        "  fix:      ask the layer for it when you make it, such as PretrainedEmbedding(..., train=True)"
    )


# --- files ------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_file_gives_back_the_same_outputs(case: Case, policy: str, tmp_path: Path) -> None:
    model = model_of(case, dtype=policy)
    x, _ = data_of(case)
    loaded = saved_and_loaded(model, tmp_path)
    assert array(loaded(x)).tobytes() == array(model(x)).tobytes()
    assert fl.fingerprint(loaded) == fl.fingerprint(model)
    flags = [(w.address, w.variable.trainable) for w in inventory(model)]
    assert [(w.address, w.variable.trainable) for w in inventory(loaded)] == flags


@every_case
def test_weights_alone_fill_a_model_made_from_its_configuration(case: Case, tmp_path: Path) -> None:
    model = model_of(case)
    x, _ = data_of(case)
    model.save_weights(tmp_path / "model.weights.h5")
    copy = keras.Model.from_config(model.get_config())
    if case.held:
        assert np.isnan(array(copy(x))).any(), "a missing value must show"
    copy.load_weights(tmp_path / "model.weights.h5")
    assert array(copy(x)).tobytes() == array(model(x)).tobytes()


def large_layers() -> dict[str, Any]:
    big = numbers(2_000, 300)
    return {
        "bias": fl.layers.FixedBiasDense(60_000, numbers(60_000)),
        "frozen": fl.layers.PretrainedEmbedding(big),
        "rows": fl.layers.PretrainedEmbedding(big, train=np.arange(0, 2_000, 2)),
        "matrix": fl.layers.FixedTransform(big),
        "statistics": fl.layers.FrozenStatistics(numbers(60_000), numbers(60_000) ** 2),
    }


def test_configurations_hold_no_large_arrays() -> None:
    for name, layer in large_layers().items():
        text = json.dumps(keras.saving.serialize_keras_object(layer))
        assert len(text) < 2_000, f"{name}: {len(text)} bytes"


def test_a_fresh_process_loads_them_by_plain_keras(tmp_path: Path) -> None:
    """All in one file; the loader imports `frostline.layers` and names nothing."""
    inputs = keras.Input((3, 4))
    numeric = [case.make(4, name=f"n{i}") for i, case in enumerate(CASES.values()) if not case.ids]
    flat = [keras.layers.Flatten()(layer(inputs)) for layer in numeric]
    ids = keras.Input((3,), dtype="int32")
    looked = [case.make(4, name=f"i{i}") for i, case in enumerate(CASES.values()) if case.ids]
    flat += [keras.layers.Flatten()(layer(ids)) for layer in looked]
    model = keras.Model([inputs, ids], keras.layers.Concatenate()(flat))
    x = [numbers(2, 3, 4), np.array([[0, 1, 2], [6, 5, 4]], "int32")]
    model.save(tmp_path / "all.keras")
    np.savez(tmp_path / "x.npz", a=x[0], b=x[1])

    code = (
        "import sys, keras, numpy as np, frostline.layers\n"
        "x = np.load(sys.argv[1] + '/x.npz')\n"
        "model = keras.models.load_model(sys.argv[1] + '/all.keras')\n"
        "np.save(sys.argv[1] + '/y.npy', keras.ops.convert_to_numpy(model([x['a'], x['b']])))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), array(model(x)), rtol=1e-6, atol=1e-7)


def test_the_command_line_loads_them(tmp_path: Path) -> None:
    model_of(CASES["FixedBiasDense"]).save(tmp_path / "model.keras")
    code = (
        "from frostline.model.loading import load_named_model; import sys; "
        "print(load_named_model(sys.argv[1]).name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.keras")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "net\n"


# --- masks ------------------------------------------------------------------------------------


PASSING = ("FixedBiasDense", "FixedTransform", "StopGradient", "GradientScale", "Hybrid", "FrozenStatistics")


@pytest.mark.parametrize("name", PASSING)
def test_masks_pass(name: str) -> None:
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    embedded = keras.layers.Embedding(5, 4, mask_zero=True)(ids)
    assert np.array_equal(mask_after(CASES[name].make(4)(embedded)), ids != 0)


def test_a_mask_is_repeated_where_a_hybrid_layer_lengthens_its_axis() -> None:
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    embedded = keras.layers.Embedding(5, 4, mask_zero=True)(ids)
    lengthened = fl.layers.Hybrid("square", axis=1)(embedded)
    assert lengthened.shape == (2, 6, 4)
    assert np.array_equal(mask_after(lengthened), np.tile(ids != 0, 2))


def test_padding_is_masked() -> None:
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    assert np.array_equal(
        mask_after(fl.layers.PretrainedEmbedding(numbers(4, 2), mask_zero=True)(ids)), ids != 0
    )
    assert mask_after(fl.layers.PretrainedEmbedding(numbers(4, 2))(ids)) is None


def test_a_trainable_tensor_has_no_mask_of_its_input() -> None:
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    embedded = keras.layers.Embedding(5, 4, mask_zero=True)(ids)
    token = fl.layers.TrainableTensor((1, 4))(embedded)
    assert mask_after(token) is None
    joined = keras.layers.Concatenate(axis=1)([token, embedded])
    assert np.array_equal(mask_after(joined), np.concatenate([[[True], [True]], ids != 0], 1))


class Probe(keras.layers.Layer):
    """Keeps the mask of its input."""

    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        self.seen = None if mask is None else exact(mask)
        return inputs


def mask_after(value: Any) -> np.ndarray | None:
    """The mask that a tensor carries."""
    probe = Probe()
    probe(value)
    return probe.seen


@every_case
def test_plain_fit_in_mixed_precision(case: Case) -> None:
    model = model_of(case, dtype="mixed_bfloat16")
    x, y = data_of(case)
    model.compile(harsh(), "mse", run_eagerly=BACKEND == "tensorflow")
    before = values(model)
    model.fit(x, y, batch_size=SAMPLES // 2, verbose=0)
    held = {f"layer/{name}" for name in case.held}
    assert changed(model, before) <= set(before) - held
    assert {w.dtype for w in inventory(model).of_role("weight")} == {"float32"}
    assert all(np.isfinite(value).all() for value in values(model).values())
