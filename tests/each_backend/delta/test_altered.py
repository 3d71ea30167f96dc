"""Every byte of a delta, of an adapter and of a saved model counts: altered, it is refused by name."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from frostline.delta.contents import _json, _seal_of_0_1
from frostline.files.tensor_file import metadata_of, packed, packed_and_sealed, unpacked
from frostline.model.loading import require_archive
from frostline.saving.model_file import _read
from helpers.altered_files import (
    altered_headers,
    end_of_header,
    every_byte,
    header_of,
    with_header,
)
from helpers.checks import THOROUGH
from helpers.folders import SAVED
from helpers.small_models import compiled, value_of

pytestmark = pytest.mark.eager

MASK = np.array([[True, False], [False, True]])
PARTS = {
    "a/kernel": fl.LowRank(2),
    "b/kernel": fl.Rows([0, 2]),
    "c/kernel": fl.Scale(),
    "d/kernel": fl.Mask(MASK),
}


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    sizes = {"a": 4, "b": 4, "c": 2, "d": 2}
    return keras.Sequential([keras.Input((3,)), *(layers.Dense(n, name=name) for name, n in sizes.items())])


def moved_with(parts: dict[str, Any]) -> tuple[keras.Model, fl.Fingerprint]:
    """A model whose parts, and the bias of `d`, are not those of its base; and the base."""
    model = network()
    before = fl.fingerprint(model)
    for address, how in parts.items():
        fl.parametrize(model, address, how)
        for part in fl.inventory(model).by_address[address].combination.parts.values():
            part.assign(value_of(part) + 0.5)
    model.get_layer("d").bias.assign([1.0, 2.0])
    return model, before


def delta_file(folder: Path, parts: dict[str, Any] = PARTS, *, by_0_1: bool) -> Path:
    model, before = moved_with(parts)
    path = folder / "d.safetensors"
    delta = fl.save_delta(model, path, base=before)
    if by_0_1:
        arrays = {name: a for entry in delta.entries.values() for name, a in entry.tensors.items()}
        contents = _json(delta.to_data())
        seal = _seal_of_0_1(contents, arrays)
        path.write_bytes(packed(arrays, {"frostline_delta": "1", "contents": contents, "blake3": seal}))
    return path


def held_in(path: Path) -> Any:
    delta = fl.Delta.load(path)
    arrays = {name: a for entry in delta.entries.values() for name, a in entry.tensors.items()}
    return delta.to_data(), {n: (a.tobytes(), a.dtype, a.shape) for n, a in arrays.items()}


def refused_or_same(path: Path, raw: bytes, read: Callable[[Path], Any], expected: Any) -> bool:
    """Whether an altered file is refused, with its name; what is not refused must be as it was."""
    path.write_bytes(raw)
    try:
        found = read(path)
    except fl.FrostlineError as error:
        assert str(path) in str(error) or repr(str(path.parent)) in str(error)
        return True
    assert found == expected
    return False


@pytest.mark.parametrize("by_0_1", [False, True])
def test_no_byte_of_a_delta_can_change(tmp_path: Path, by_0_1: bool) -> None:
    path = delta_file(tmp_path, by_0_1=by_0_1)
    raw, expected = path.read_bytes(), held_in(path)
    assert list(expected[0]["entries"]) == [*PARTS, "d/bias"]
    places = [*range(end_of_header(raw)), *range(end_of_header(raw), len(raw), 3)]
    kept = [
        n
        for n, other in enumerate(every_byte(raw, places))
        if not refused_or_same(path, other, held_in, expected)
    ]
    assert kept == [] or by_0_1


@pytest.mark.parametrize("by_0_1", [False, True])
def test_no_header_of_a_delta_can_say_something_else(tmp_path: Path, by_0_1: bool) -> None:
    path = delta_file(tmp_path, by_0_1=by_0_1)
    raw, expected = path.read_bytes(), held_in(path)
    kept = [
        what for what, other in altered_headers(raw) if not refused_or_same(path, other, held_in, expected)
    ]
    assert kept == []
    header = header_of(raw)
    for key in header["__metadata__"]:
        other = {**header, "__metadata__": {**header["__metadata__"], key: "2" if by_0_1 else "1"}}
        assert refused_or_same(path, with_header(raw, other), held_in, expected)


def test_a_factor_of_another_dtype_is_refused_and_the_model_is_as_before(tmp_path: Path) -> None:
    for by_0_1, why in (
        (False, "its contents do not have the digest that stands in it"),
        (
            True,
            "the values for 'a/kernel' do not fit: lora_a of shape (3, 2), int32, "
            "lora_b of shape (2, 4), int32",
        ),
    ):
        path = delta_file(tmp_path, by_0_1=by_0_1)
        path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))
        model = network()
        before = fl.fingerprint(model)
        with pytest.raises(fl.FrostlineError) as failed:
            fl.load_delta(model, path, force=True)
        assert str(failed.value) == (
            f"the delta {str(path)!r} is damaged, or was altered after it was written.\n"
            f"  received: {why}\n"
            "  expected: what frostline.save_delta wrote\n"
            "  fix:      copy it again, or save it again"
        )
        assert fl.fingerprint(model) == before


def test_a_delta_of_0_1_says_how_far_its_digest_goes(tmp_path: Path) -> None:
    said = "its digest leaves out dtypes and shapes of tensors, so these were checked against what it says of"
    for by_0_1 in (False, True):
        delta = fl.Delta.load(delta_file(tmp_path, by_0_1=by_0_1))
        assert (said in " ".join(str(delta).split())) is by_0_1
        assert delta.sealed_whole is not by_0_1


def test_a_part_of_the_users_own_in_a_delta_of_0_1_is_held_against_its_class(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("altered")
    class Tilt(fl.Parametrization):
        def start(self, weight: Any) -> dict[str, Any]:
            return {"tilt": keras.ops.zeros(weight.shape[:1], dtype=weight.dtype)}

        def combine(self, base: Any, parts: Any) -> Any:
            return base + keras.ops.expand_dims(parts["tilt"], -1)

    path = delta_file(tmp_path, {"a/kernel": Tilt()}, by_0_1=True)
    raw = path.read_bytes()
    for what, other in altered_headers(raw):
        path.write_bytes(other)
        model = network()
        with pytest.raises(fl.FrostlineError):
            fl.load_delta(model, path)
            pytest.fail(what)
    path.write_bytes(raw)
    fl.load_delta(network(), path)


# Adapters in PEFT's layout ------------------------------------------------------------------------


def adapter_in(folder: Path) -> Any:
    model = network()
    fl.import_peft(model, folder)
    return [(value_of(v).tobytes(), v.dtype) for v in model.trainable_variables]


def test_no_byte_of_an_exported_adapter_can_change(tmp_path: Path) -> None:
    model, _ = moved_with({"a/kernel": fl.LowRank(2, alpha=3), "b/kernel": fl.LowRank(2)})
    fl.export_peft(model, tmp_path)
    expected = adapter_in(tmp_path)
    weights, config = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"

    def read(path: Path) -> Any:
        return adapter_in(path.parent)

    raw = weights.read_bytes()
    altered = [
        *every_byte(raw, range(0, len(raw), 5 if THOROUGH else 15)),
        *(other for _, other in altered_headers(raw)),
    ]
    # Without its metadata it is an adapter as PEFT writes it, which has no digest.
    altered = [other for other in altered if b"frostline_config" in other and b"__metadata__" in other]
    for other in altered:
        assert refused_or_same(weights, other, read, expected)
    weights.write_bytes(raw)
    text = config.read_bytes()
    kept = [
        other
        for other in every_byte(text, range(0, len(text), 1 if THOROUGH else 3))
        if not refused_or_same(config, other, read, expected)
    ]
    assert kept
    config.write_bytes(text.replace(b'"r": 2', b'"r": 1'))
    with pytest.raises(fl.FrostlineError) as failed:
        adapter_in(tmp_path)
    assert str(failed.value).splitlines()[1:] == [
        "  received: r: 1",
        "  expected: r: 2",
        "  fix:      copy both files again, or export the adapter again",
    ]


def test_an_adapter_of_peft_has_floating_factors_of_its_rank(tmp_path: Path) -> None:
    shutil.copytree(SAVED / "peft_adapter", tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "adapter_model.safetensors"
    raw = weights.read_bytes()
    names = {"a/kernel": "up"}
    only = {n: t for n, t in header_of(raw).items() if ".up." in n}
    start = min(t["data_offsets"][0] for t in only.values())
    stop = max(t["data_offsets"][1] for t in only.values())
    for tensor in only.values():
        tensor["data_offsets"] = [place - start for place in tensor["data_offsets"]]
    end = end_of_header(raw)
    own = with_header(raw[:end] + raw[end + start : end + stop], only)

    def read(path: Path) -> Any:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((8,)), layers.Dense(12, name="a")])
        fl.import_peft(model, path.parent, names=names)
        return [(value_of(v).tobytes(), v.dtype) for v in model.trainable_variables]

    weights.write_bytes(own)
    expected = read(weights)
    without_metadata = [o for what, o in altered_headers(own, digested=False) if "metadata" not in what]
    kept = [other for other in without_metadata if not refused_or_same(weights, other, read, expected)]
    assert kept == []
    spoilt = own[:-4] + np.float32(np.nan).tobytes()
    assert refused_or_same(weights, spoilt, read, expected)


# Saved models -------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = compiled(network())
    fl.parametrize(model, "a/kernel", fl.LowRank(1))
    fl.save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


def own_part(path: Path) -> Any:
    require_archive(path)
    found = _read(path)
    assert found is not None
    return found[0], {n: (a.tobytes(), a.dtype, a.shape) for n, a in found[1].items()}


def test_no_tensor_of_a_saved_model_can_be_another(saved: Path) -> None:
    expected = own_part(saved)
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    raw = members["frostline.safetensors"]
    other = saved.with_name("other.keras")
    flipped = every_byte(raw, [*range(end_of_header(raw)), *range(end_of_header(raw), len(raw), 7)])
    for content in (*flipped, *(header for _, header in altered_headers(raw))):
        with zipfile.ZipFile(other, "w") as archive:
            for name, held in (members | {"frostline.safetensors": content}).items():
                archive.writestr(name, held)
        assert refused_or_same(other, other.read_bytes(), own_part, expected)


def test_no_byte_of_frostlines_share_of_an_archive_can_change(saved: Path) -> None:
    """Decisions do not vanish either where the list of members is damaged: the model would be another."""
    raw, expected = saved.read_bytes(), own_part(saved)
    share = raw.index(b"frostline.json") - 30
    members = raw.index(b"PK\x01\x02", share)
    places = [*range(share, members, 11), *range(members, len(raw))]
    for other in every_byte(raw, places):
        refused_or_same(saved, other, own_part, expected)


def test_a_member_that_is_there_twice_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("frostline.json", json.dumps({}))
    with pytest.raises(fl.FrostlineError, match=r"received: members called 'frostline.json'"):
        fl.load_model(saved)


ODD: tuple[Any, ...] = ([[[]]], None, "", -1, 2.5, True, {"a": 1}, [], "x" * 300, [None], float("nan"))
"""Values that no field of a delta has, or not each."""


def test_a_seal_makes_no_record_right(tmp_path: Path) -> None:
    """Whoever alters a field and seals the file anew is refused in words, or the delta can be shown."""
    path = delta_file(tmp_path, by_0_1=False)
    raw = path.read_bytes()
    arrays, metadata = unpacked(raw), metadata_of(raw)
    contents = json.loads(metadata["contents"])
    places = [("entries", a, field) for a, entry in contents["entries"].items() for field in entry]
    places += [(field,) for field in contents] + [("base", address) for address in contents["base"]]
    refused = 0
    for place in places:
        for value in ODD:
            changed = json.loads(metadata["contents"])
            holder = changed
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = value
            path.write_bytes(packed_and_sealed(arrays, {**metadata, "contents": json.dumps(changed)}))
            try:
                str(fl.Delta.load(path))
            except fl.FrostlineError as error:
                assert "is damaged, or was altered" in str(error)
                refused += 1
    assert refused > len(places) * len(ODD) / 2
