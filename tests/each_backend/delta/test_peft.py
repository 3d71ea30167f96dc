"""LoRA adapters from PEFT's files and into them, against an adapter that PEFT itself wrote.

`peft_adapter/make.py` made it, with the outputs of PyTorch before and after.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from safetensors.numpy import load_file

import frostline as fl
from helpers.folders import SAVED
from helpers.small_models import two_dense

pytestmark = pytest.mark.eager

MADE = SAVED / "peft_adapter"
WORDS, WIDTH, HEADS, INNER = 11, 8, 2, 12
NAMES = {
    "words/embeddings": "words",
    "attention/query/kernel": "query",
    "attention/key/kernel": "key",
    "attention/value/kernel": "value",
    "attention/attention_output/kernel": "output",
    "up/kernel": "up",
    "down/kernel": "down",
}


def known() -> dict[str, np.ndarray]:
    with np.load(MADE / "encoder.npz") as arrays:
        return dict(arrays)


def encoder() -> keras.Model:
    """The twin of `make.Encoder`, with its weights."""
    ids = keras.Input((5,), dtype="int32")
    hidden = layers.Embedding(WORDS, WIDTH, name="words")(ids)
    attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name="attention")
    hidden = hidden + attention(hidden, hidden)
    inner = layers.Dense(INNER, activation="relu", name="up")(hidden)
    model = keras.Model(ids, hidden + layers.Dense(WIDTH, name="down")(inner), name="encoder")
    arrays, held = known(), fl.inventory(model)
    for address, module in NAMES.items():
        weight, torch_weight = held.by_address[address], arrays[f"{module}.weight"]
        value = torch_weight if module == "words" else torch_weight.T
        weight.variable.assign(value.reshape(weight.shape))
        if module != "words":
            bias = held.by_address[address.replace("kernel", "bias")]
            bias.variable.assign(arrays[f"{module}.bias"].reshape(bias.shape))
    return model


def outputs(model: keras.Model) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(known()["ids"].astype("int32")))


def close(one: np.ndarray, two: np.ndarray) -> bool:
    return bool(np.allclose(one, two, rtol=1e-5, atol=1e-5))


def test_an_adapter_of_peft_gives_its_outputs() -> None:
    model = encoder()
    assert close(outputs(model), known()["before"])
    assert not close(known()["after"], known()["before"])
    put = fl.import_peft(model, MADE, names=NAMES)
    assert close(outputs(model), known()["after"])
    assert [one.address for one in put] == [a for a, m in NAMES.items() if m not in ("key", "down")]
    ranks = {one.address: one.how.rank for one in put}
    assert (ranks["words/embeddings"], ranks["up/kernel"]) == (2, 3)
    assert close(outputs(fl.merge(model)), known()["after"])


def test_what_came_from_peft_goes_back_to_it(tmp_path: Path) -> None:
    model = encoder()
    fl.import_peft(model, MADE, names=NAMES)
    modules = fl.export_peft(model, tmp_path, names=NAMES, base_model="mine")
    assert modules == ("words", "query", "value", "output", "up")
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, MADE))
    assert ours.keys() == theirs.keys()
    for key in theirs:
        # The rank of one kernel for all heads is higher, so its factors are others.
        if not key.startswith(("base_model.model.query", "base_model.model.value")):
            np.testing.assert_array_equal(ours[key], theirs[key])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["base_model_name_or_path"] == "mine"
    assert {n: config["rank_pattern"].get(n, config["r"]) for n in ("words", "output", "up")} == {
        "words": 2,
        "output": 2,
        "up": 3,
    }
    again = encoder()
    fl.import_peft(again, tmp_path, names=NAMES)
    assert close(outputs(again), known()["after"])


def test_the_update_of_every_exported_kernel_is_that_of_the_model(tmp_path: Path) -> None:
    """By the formula of PEFT's documentation: `weight + lora_alpha / r * B @ A`, rows are outputs."""
    model = encoder()
    rng = np.random.default_rng(2)
    before = {w.address: w.numpy() for w in fl.inventory(model).of_role("weight")}
    for address in NAMES:
        fl.parametrize(model, address, fl.LowRank(2, alpha=3.0, seed=1))
        made_of = fl.inventory(model).by_address[address].combination
        made_of.parts["lora_b"].assign(rng.normal(size=made_of.parts["lora_b"].shape))
    fl.export_peft(model, tmp_path, names=NAMES.get)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    for address, module in NAMES.items():
        names = (
            ("lora_embedding_A", "lora_embedding_B")
            if module == "words"
            else ("lora_A.weight", "lora_B.weight")
        )
        a, b = (tensors[f"base_model.model.{module}.{name}"] for name in names)
        rank = config["rank_pattern"].get(module, config["r"])
        assert a.shape[0] == b.shape[1] == rank
        update = (config["alpha_pattern"].get(module, config["lora_alpha"]) / rank * b @ a).T
        weight = fl.inventory(model).by_address[address]
        np.testing.assert_allclose(
            weight.numpy(), before[address] + update.reshape(weight.shape), rtol=1e-5, atol=1e-6
        )


def test_a_delta_is_exported_like_its_model(tmp_path: Path) -> None:
    model = two_dense()
    fl.parametrize(model, "a/kernel", fl.LowRank(2, seed=1))
    before = fl.fingerprint(model)
    fl.inventory(model).by_address["a/kernel"].combination.parts["lora_b"].assign(np.ones((2, 3)))
    delta = fl.save_delta(model, tmp_path / "low.safetensors", base=before)
    for source, folder in ((model, "model"), (delta, "delta")):
        assert fl.export_peft(source, tmp_path / folder) == ("a",)
    one, two = (load_file(tmp_path / f / "adapter_model.safetensors") for f in ("model", "delta"))
    assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in two.items()}


# Misuse -------------------------------------------------------------------------------------------


def refused(folder: Path, model: keras.Model | None = None, names: Any = NAMES) -> str:
    model = model or encoder()
    before = fl.fingerprint(model)
    with pytest.raises(fl.FrostlineError) as failed:
        fl.import_peft(model, folder, names=names)
    assert fl.fingerprint(model) == before
    return str(failed.value).replace(str(folder), "FOLDER")


def altered(folder: Path, **config: Any) -> Path:
    shutil.copytree(MADE, folder, dirs_exist_ok=True)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


def test_an_adapter_of_other_modules_is_refused() -> None:
    assert refused(MADE, names=None) == (
        "the adapter in 'FOLDER' has tensors for which the model has no weight.\n"
        "  received: base_model.model.output.lora_A.weight, base_model.model.output.lora_B.weight, "
        "base_model.model.query.lora_A.weight and 3 more\n"
        "  expected: a weight of the model for every module of the adapter\n"
        "  fix:      give names=, a mapping from the addresses of the model to the modules of the adapter"
    )


def test_an_adapter_of_another_shape_is_refused() -> None:
    swapped = NAMES | {"up/kernel": "down", "down/kernel": "up"}
    assert refused(MADE, names=swapped) == (
        "the adapter of 'up' in 'FOLDER' does not fit 'down/kernel'.\n"
        "  received: A of shape (3, 8), B of shape (12, 3)\n"
        "  expected: [rank, 12] and [8, rank]"
    )


def test_what_is_more_than_low_rank_is_refused(tmp_path: Path) -> None:
    assert refused(altered(tmp_path, bias="all", use_dora=True)) == (
        "the adapter in 'FOLDER' holds more than LoRA.\n"
        "  received: use_dora=True, bias='all'\n"
        "  expected: low-rank factors only"
    )
    assert refused(altered(tmp_path, peft_type="IA3")) == (
        "the adapter in 'FOLDER' is not LoRA.\n  received: peft_type 'IA3'\n  expected: 'LORA'"
    )


@pytest.mark.parametrize("alpha", [None, "16", True, float("nan")])
def test_a_scale_that_is_no_number_is_refused(tmp_path: Path, alpha: Any) -> None:
    assert refused(altered(tmp_path, lora_alpha=alpha)) == (
        "the config of the adapter in 'FOLDER' has an invalid lora_alpha or alpha_pattern.\n"
        f"  received: lora_alpha: {json.dumps(alpha)}\n"
        "  expected: a number as lora_alpha, and for each module that alpha_pattern names\n"
        "  fix:      write the lora_alpha that the adapter was trained with into adapter_config.json"
    )


def test_patterns_of_scales_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    for pattern, said in (({"up": None}, "alpha_pattern of 'up': null"), ([1], "alpha_pattern: [1]")):
        lines = refused(altered(tmp_path, alpha_pattern=pattern)).splitlines()
        assert lines[1] == f"  received: {said}"
    fl.import_peft(encoder(), altered(tmp_path, alpha_pattern=None), names=NAMES)


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    folder = altered(tmp_path)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert refused(folder).startswith("'FOLDER/adapter_model.safetensors' cannot be read: it is not a whole")
    weights.unlink()
    assert refused(folder) == "there is no adapter 'FOLDER/adapter_model.safetensors'."
    (folder / "adapter_config.json").write_text("{")
    assert refused(folder) == (
        "'FOLDER/adapter_config.json' is not the JSON of an adapter.\n"
        "  received: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)\n"
        "  expected: the config that PEFT writes beside an adapter"
    )


def test_a_parametrized_weight_is_left_alone() -> None:
    model = encoder()
    fl.parametrize(model, "attention/value/kernel", fl.Scale())
    assert refused(MADE, model).startswith("'attention/value/kernel' is parametrized already.")
    assert [w.address for w in fl.inventory(model) if w.part] == ["attention/value/kernel"]


def test_exporting_says_what_is_no_adapter(tmp_path: Path) -> None:
    def said(source: Any, **arguments: Any) -> str:
        with pytest.raises(fl.FrostlineError) as failed:
            fl.export_peft(source, tmp_path / "out", **arguments)
        assert not (tmp_path / "out").exists()
        return str(failed.value)

    model = two_dense()
    assert said(model) == (
        "there is no low-rank adapter to export.\n"
        "  expected: a weight with fl.parametrize(model, address, fl.LowRank(rank=8))"
    )
    before = fl.fingerprint(model)
    model.get_layer("b").bias.assign([1.0, 1.0])
    delta = fl.save_delta(model, tmp_path / "bias.safetensors", base=before)
    assert said(delta) == (
        "the delta changes more than low-rank adapters, which PEFT's layout cannot hold.\n"
        "  received: b/bias\n"
        "  fix:      export the model itself, which writes only the adapters"
    )
    for address in ("a/kernel", "b/kernel"):
        fl.parametrize(model, address, fl.LowRank(1))
    assert said(model, names=lambda address: "same") == (
        "two adapted weights have the same module.\n  received: same"
    )


def test_names_of_weights_that_are_not_there_are_refused(tmp_path: Path) -> None:
    model = two_dense()
    before = fl.fingerprint(model)
    fl.parametrize(model, "a/kernel", fl.LowRank(1))
    fl.inventory(model).by_address["a/kernel"].combination.parts["lora_b"].assign(np.ones((1, 3)))
    delta = fl.save_delta(model, tmp_path / "low.safetensors", base=before)
    said = (
        "names= has addresses that the model 'two_dense' does not have.\n"
        "  received: 'a/kernal'\n"
        "  expected: addresses of its weights, as fl.inventory(model) lists them\n"
        "  fix:      did you mean 'a/kernel', 'b/kernel'?"
    )
    for source in (model, delta):
        with pytest.raises(fl.FrostlineError) as failed:
            fl.export_peft(source, tmp_path / "out", names={"a/kernal": "query", "b/kernel": "key"})
        assert str(failed.value) == said
        assert not (tmp_path / "out").exists()
        # What is there and not adapted may be named: one mapping serves for all adapters of a model.
        names = {"a/kernel": "query", "b/kernel": "key"}
        assert fl.export_peft(source, tmp_path / "adapter", names=names) == ("query",)
    assert refused(tmp_path / "adapter", two_dense(), {"a/kernal": "query"}) == said


def test_only_matrices_are_exported(tmp_path: Path) -> None:
    conv = keras.Sequential([keras.Input((6, 3)), layers.Conv1D(4, 2, name="conv")])
    fl.parametrize(conv, "conv/kernel", fl.LowRank(1))
    with pytest.raises(fl.FrostlineError) as failed:
        fl.export_peft(conv, tmp_path)
    assert str(failed.value) == (
        "'conv/kernel' is not a matrix of inputs by outputs, as PEFT's adapters are.\n"
        "  received: a weight of the layer Conv1D\n"
        "  expected: the kernel of a Dense or EinsumDense layer, or the table of an Embedding"
    )


# The equations of KerasHub's attention, their kernels as matrices `[out, in]` of PyTorch by NumPy's einsum.
EQUATIONS = {
    "btd,ndh->btnh": ("ndh->nhd", (None, 3, 5)),
    "btd,dnh->btnh": ("dnh->nhd", (None, 3, 5)),
    "bsd,kdh->bskh": ("kdh->khd", (None, 3, 5)),
    "abc,cdef->abdef": ("cdef->defc", (None, 2, 3, 5)),
    "btd,df->btf": ("df->fd", (None, 5)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_kernels_whose_axes_have_another_order(equation: str, tmp_path: Path) -> None:
    """An update goes into PEFT's layout and back, whichever axes of a kernel are inputs."""
    as_torch, made = EQUATIONS[equation]

    def model() -> keras.Model:
        keras.utils.set_random_seed(4)
        return keras.Sequential([keras.Input((2, 4)), layers.EinsumDense(equation, made, name="q")])

    ours = model()
    before = fl.inventory(ours).by_address["q/kernel"].numpy()
    fl.parametrize(ours, "q/kernel", fl.LowRank(2, alpha=3.0, seed=1))
    parts = fl.inventory(ours).by_address["q/kernel"].combination.parts
    parts["lora_b"].assign(np.random.default_rng(0).normal(size=parts["lora_b"].shape))
    after = fl.inventory(ours).by_address["q/kernel"].numpy()
    fl.export_peft(ours, tmp_path, names={"q/kernel": "q_proj"})
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    a, b = (tensors[f"base_model.model.q_proj.lora_{name}.weight"] for name in "AB")
    update = config["lora_alpha"] / config["r"] * b @ a
    expected = np.einsum(as_torch, after - before).reshape(-1, 4)
    np.testing.assert_allclose(update, expected, rtol=1e-5, atol=1e-5)
    again = model()
    fl.import_peft(again, tmp_path, names={"q/kernel": "q_proj"})
    np.testing.assert_allclose(
        fl.inventory(again).by_address["q/kernel"].numpy(), after, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("equation", ["bnd,ndh->bnh", "btnh,dnh->btd"])
def test_kernels_that_are_no_matrix_of_inputs_by_outputs(equation: str, tmp_path: Path) -> None:
    """One matrix for each of several groups, and a last axis of inputs, are refused by the equation."""
    shape = (3, 4) if equation.startswith("bnd") else (2, 3, 4)
    made = (3, 5) if equation.startswith("bnd") else (None, 5)
    model = keras.Sequential([keras.Input(shape), layers.EinsumDense(equation, made, name="q")])
    fl.parametrize(model, "q/kernel", fl.LowRank(1))
    with pytest.raises(fl.FrostlineError, match="an EinsumDense with the equation"):
        fl.export_peft(model, tmp_path)
