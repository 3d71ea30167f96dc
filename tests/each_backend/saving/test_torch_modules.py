"""Buffers of PyTorch modules in deltas, model files and checkpoints."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("modules of PyTorch", allow_module_level=True)

import torch
from blake3 import blake3

import frostline as fl
from frostline.errors import DeltaError, ModelFileError, ResumeError
from frostline.files.sealed import sealed, unsealed
from frostline.files.tensor_file import packed, unpacked
from frostline.saving.model_file import DECISIONS, VALUES
from helpers.interrupted_runs import Interrupt, Interrupted
from helpers.torch_modules import MODULES, data, held, net, with_own_layer, wrapped

UNSAFE = {"safe_mode": False}
"""Keras writes a module by pickle."""


def fitted(model: keras.Model, plan: fl.Plan | None = None, **more: Any) -> fl.Run:
    return fl.fit(model, plan or fl.Plan().train("**"), *data(), verbose=0, **more)


def require_alike(one: keras.Model, other: keras.Model) -> None:
    bits = [[w.numpy().tobytes() for w in fl.inventory(m) if w.role != "metric"] for m in (one, other)]
    assert bits[0] == bits[1]
    outputs = [model.predict(data()[0], verbose=0) for model in (one, other)]
    assert np.array_equal(*outputs)


# Deltas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_base_and_delta_are_the_model(name: str, tmp_path: Path) -> None:
    model = wrapped(MODULES[name])
    run = fitted(model, epochs=2)
    fl.save_delta(model, tmp_path / "d.safetensors", base=run)
    base = wrapped(MODULES[name])
    before = fl.fingerprint(base)
    fl.load_delta(base, tmp_path / "d.safetensors")
    require_alike(model, base)
    fl.remove_delta(base, "d")
    assert fl.fingerprint(base) == before


@pytest.mark.parametrize("given", ["model", "fingerprint", "nothing"])
def test_a_delta_has_the_buffers_whatever_its_base_is_known_from(given: str, tmp_path: Path) -> None:
    base = wrapped()
    known = {"model": base, "fingerprint": fl.fingerprint(base), "nothing": None}[given]
    model = wrapped()
    model.fit(*data(), verbose=0)
    delta = fl.save_delta(model, tmp_path / "d.safetensors", base=known)
    assert "backbone/1/running_mean" in delta.entries
    fl.load_delta(base, tmp_path / "d.safetensors")
    require_alike(model, base)


def test_a_base_with_other_buffers_is_another_base(tmp_path: Path) -> None:
    model = wrapped()
    run = fitted(model, fl.Plan().train("head/**"))
    fl.save_delta(model, tmp_path / "d.safetensors", base=run)
    base = wrapped()
    base.get_layer("backbone").module[1].running_mean.add_(1.0)
    with pytest.raises(DeltaError, match="backbone/1/running_mean"):
        fl.load_delta(base, tmp_path / "d.safetensors")


# Model files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*MODULES} - {"spectral"}))
@pytest.mark.parametrize("layer", ["backbone", None])
def test_a_file_gives_the_model_again_in_the_same_process(
    name: str, layer: str | None, tmp_path: Path
) -> None:
    model = wrapped(MODULES[name], name=layer)
    fitted(model, epochs=2)
    fl.save_model(model, tmp_path / "m.keras")
    again = fl.load_model(tmp_path / "m.keras", **UNSAFE)
    require_alike(model, again)
    for one in (model, again):
        # There, since Keras draws when it builds a model that has not trained yet.
        seeded = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: torch.manual_seed(0))
        fitted(one, epochs=2, shuffle=False, callbacks=[seeded])
    require_alike(model, again)


def test_what_pytorch_cannot_pickle_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="Serialization of parametrized modules"):
        fl.save_model(wrapped(MODULES["spectral"]), tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layer", ["backbone", None])
def test_weights_that_were_frozen_when_they_were_saved_can_train_again(layer: Any, tmp_path: Path) -> None:
    model = wrapped(name=layer)
    fitted(model, fl.Plan().train("head/**").train("*/0/weight"))
    fl.save_model(model, tmp_path / "m.keras")
    again = fl.load_model(tmp_path / "m.keras", **UNSAFE)
    require_alike(model, again)
    run = fitted(again, fl.Plan().train("*/1/*").train("*/3/weight"))
    assert [a.partition("/")[2] for a in run.verification.of("trained")] == ["1/weight", "1/bias", "3/weight"]


def test_a_plan_on_modules_comes_back(tmp_path: Path) -> None:
    model = wrapped()
    fitted(model, fl.Plan().train("head/**").train("backbone/0/*"))
    fl.save_model(model, tmp_path / "m.keras")
    again = fl.load_model(tmp_path / "m.keras", **UNSAFE)
    before = held(again)
    again.fit(*data(), verbose=0)
    assert held(again) == before


def test_buffers_of_a_layer_of_the_users_own_come_back(tmp_path: Path) -> None:
    model = with_own_layer()
    fitted(model)
    fl.save_model(model, tmp_path / "m.keras")
    objects = {"Own": type(model.get_layer("own"))}
    again = fl.load_model(tmp_path / "m.keras", custom_objects=objects, **UNSAFE)
    require_alike(model, again)


def _as_written_by_0_1(path: Path) -> None:
    """Rewrite a file with what 0.1 knew: `variable_8` for `0/weight`, and nothing of buffers."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = unsealed(json.loads(members[DECISIONS]))
    names: dict[str, str] = {}
    for address in data["weights"]:
        if address.startswith("backbone/"):
            names[address] = f"backbone/variable_{len(names) + 8}"

    def old(value: Any) -> Any:
        if isinstance(value, dict):
            return {names.get(key, key): old(one) for key, one in value.items() if key not in new}
        return [old(one) for one in value] if isinstance(value, list) else names.get(value, value)

    new = {"blake3", "states", "lora"}
    arrays = {
        next((name.replace(a, b) for a, b in names.items() if f"/{a}/" in name), name): array
        for name, array in unpacked(members[VALUES]).items()
        if not name.startswith("state/")
    }
    members[VALUES] = packed(arrays)
    data["values"] = blake3(members[VALUES]).hexdigest()
    members[DECISIONS] = json.dumps(sealed(old(data))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_file_of_0_1_is_told_by_order_and_that_is_said(tmp_path: Path) -> None:
    model = wrapped()
    fl.apply(model, fl.Plan().train("head/**").train("backbone/3/*"))
    fl.save_model(model, tmp_path / "m.keras")
    _as_written_by_0_1(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="backbone/variable_8 as backbone/0/weight"):
        again = fl.load_model(tmp_path / "m.keras", **UNSAFE)
    require_alike(model, again)
    trained = [w.address for w in fl.inventory(again) if w.variable.trainable]
    assert trained == ["backbone/3/weight", "backbone/3/bias", "head/kernel", "head/bias"]


def test_a_file_of_another_module_is_refused(tmp_path: Path) -> None:
    model = wrapped()
    fl.save_model(model, tmp_path / "m.keras")
    other = wrapped(MODULES["without_weights"])
    fl.save_model(other, tmp_path / "o.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as one, zipfile.ZipFile(tmp_path / "o.keras") as two:
        members = {name: two.read(name) for name in two.namelist() if "frostline" not in name}
        members |= {name: one.read(name) for name in one.namelist() if "frostline" in name}
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFileError, match="backbone/1/weight"):
        fl.load_model(tmp_path / "x.keras", **UNSAFE)


# Fingerprints of 0.1 --------------------------------------------------------------------------------------


def _fingerprint_of_0_1(model: keras.Model) -> fl.Fingerprint:
    weights = {a: d for a, d in fl.fingerprint(model).to_data().items() if not _is_buffer(model, a)}
    for one in weights.values():
        one.pop("stem")
    inside = [a for a in weights if a.startswith("backbone/")]
    names = {address: f"backbone/variable_{n}" for n, address in enumerate(inside, 3)}
    return fl.Fingerprint.from_data({names.get(a, a): one for a, one in weights.items()})


def _is_buffer(model: keras.Model, address: str) -> bool:
    return bool(fl.inventory(model).by_address[address].is_held)


def test_what_a_fingerprint_of_0_1_does_not_record_is_said_to_be_unrecorded() -> None:
    model = wrapped()
    found = fl.verify(model, _fingerprint_of_0_1(model), fl.Plan().train("head/**"))
    assert found.ok
    assert found.of("unrecorded") == tuple(held(model))
    assert found.by_order["backbone/variable_3"] == "backbone/0/weight"
    assert found.verdict == "every frozen number that was recorded is bit-identical"


# Checkpoints ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["norm", "counting", "spectral"])
@pytest.mark.parametrize("rules", [("**",), ("head/**", "backbone/0/**")])
def test_a_run_that_was_killed_ends_as_an_undisturbed_one(
    name: str, rules: tuple[str, ...], tmp_path: Path
) -> None:
    plan = fl.Plan()
    for rule in rules:
        plan = plan.train(rule)
    common = {"epochs": 4, "batch_size": 8, "resume": tmp_path / "run"}
    torch.manual_seed(3)
    straight = wrapped(MODULES[name])
    fitted(straight, plan, **common | {"resume": tmp_path / "straight"})
    torch.manual_seed(3)
    with pytest.raises(Interrupted):
        fitted(wrapped(MODULES[name]), plan, **common, callbacks=[Interrupt(2, "middle")])
    again = wrapped(MODULES[name])
    assert fitted(again, plan, **common).resumed == 2
    require_alike(straight, again)


def test_a_run_with_other_frozen_buffers_is_another_run(tmp_path: Path) -> None:
    plan = fl.Plan().train("head/**")
    with pytest.raises(Interrupted):
        fitted(wrapped(), plan, epochs=3, resume=tmp_path / "r", callbacks=[Interrupt(1, "end")])
    other = wrapped()
    other.get_layer("backbone").module[1].running_mean.add_(1.0)
    with pytest.raises(ResumeError, match="backbone/1/running_mean"):
        fitted(other, plan, epochs=3, resume=tmp_path / "r")


def test_the_best_epoch_of_a_phase_brings_its_buffers_back() -> None:
    model = wrapped(net)
    seen: list[dict[str, bytes]] = []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(held(model)))
    until = fl.Plateau("loss", patience=1, min_delta=1e6)
    phase = fl.Phase("all", epochs=4, until=until, restore_best=True)
    fl.fit(model, fl.Schedule(fl.Plan().train("**"), (phase,)), *data(), verbose=0, callbacks=[look])
    assert len(seen) == 2
    assert held(model) == seen[0]
