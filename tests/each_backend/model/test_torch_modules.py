"""Buffers of PyTorch modules are state of the model: held under a frozen module, and proved to be."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("modules of PyTorch", allow_module_level=True)

import torch
from torch import nn

import frostline as fl
from frostline.errors import ModelError, VerificationError
from helpers.torch_modules import MODULES, WIDTH, data, held, net, restless, with_own_layer, wrapped


def fitted(model: keras.Model, plan: fl.Plan, **more: Any) -> fl.Run:
    return fl.fit(model, plan, *data(), verbose=0, **more)


def moved(model: keras.Model, before: dict[str, bytes]) -> set[str]:
    return {address for address, bits in held(model).items() if bits != before[address]}


# Names ----------------------------------------------------------------------------------------------


def test_tensors_have_the_names_that_the_module_gives_them() -> None:
    found = {w.address: w.role for w in fl.inventory(wrapped()).weights if w.layer == "backbone"}
    assert found == {
        "backbone/0/weight": "weight",
        "backbone/0/bias": "weight",
        "backbone/1/weight": "weight",
        "backbone/1/bias": "weight",
        "backbone/3/weight": "weight",
        "backbone/3/bias": "weight",
        "backbone/1/running_mean": "statistic",
        "backbone/1/running_var": "statistic",
        "backbone/1/num_batches_tracked": "statistic",
    }


def test_a_tensor_that_is_tied_has_both_names() -> None:
    def tied() -> nn.Module:
        module = net()
        module[3].weight = module[0].weight
        module[3].register_buffer("mean", module[1].running_mean)
        return module

    by_address = fl.inventory(wrapped(tied)).by_address
    assert by_address["backbone/3/weight"] is by_address["backbone/0/weight"]
    assert by_address["backbone/3/mean"] is by_address["backbone/1/running_mean"]


def test_classes_of_modules_are_types() -> None:
    resolution = fl.Plan().train("type:BatchNorm1d").resolve(wrapped())
    assert [d.weight.address for d in resolution.trained] == ["backbone/1/weight", "backbone/1/bias"]


def test_a_module_that_a_layer_takes_as_an_attribute_has_names_too() -> None:
    addresses = set(held(with_own_layer()))
    assert "own/steps" in addresses
    assert any(address.endswith("/0/running_mean") for address in addresses)


def test_asking_again_gives_the_same_objects() -> None:
    model = wrapped()
    first, second = ([w.variable for w in fl.inventory(model) if w.is_held] for _ in range(2))
    assert len(first) == 3
    assert all(one is other for one, other in zip(first, second, strict=True))


# What frozen means ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_buffers_of_a_frozen_wrapper_are_held(name: str) -> None:
    model = wrapped(MODULES[name])
    before = held(model)
    run = fitted(model, fl.Plan().train("head/**"))
    assert moved(model, before) == set()
    assert set(before) == set(run.verification.of("held"))


@pytest.mark.parametrize("name", MODULES)
def test_buffers_move_where_all_trains(name: str) -> None:
    model = wrapped(MODULES[name])
    before = held(model)
    run = fitted(model, fl.Plan().train("**"), epochs=2)
    assert run.verification.ok
    assert moved(model, before) == set(run.verification.of("moved")) != set()


@pytest.mark.parametrize("name", ["norm", "without_weights", "counting"])
def test_a_frozen_module_in_a_layer_that_trains_holds_its_buffers(name: str) -> None:
    model = wrapped(MODULES[name])
    before = held(model)
    run = fitted(model, fl.Plan().train("head/**").train("backbone/0/*"))
    assert moved(model, before) == set()
    assert "backbone/0/weight" in run.verification.of("trained")
    assert model.get_layer("backbone").module[0].training


def test_the_estimate_of_a_norm_belongs_to_the_kernel_that_it_is_of() -> None:
    model = wrapped(MODULES["spectral"])
    before = held(model)
    fitted(model, fl.Plan().train("head/**").train("backbone/1/*"))
    assert moved(model, before) == set()
    fitted(model, fl.Plan().train("backbone/0/**"), epochs=2)
    assert {a.rpartition("/")[2] for a in moved(model, before)} == {"_u", "_v"}


def test_the_policy_of_the_plan_lets_frozen_statistics_move() -> None:
    model = wrapped()
    before = held(model)
    plan = fl.Plan(batchnorm="update").train("head/**").train("backbone/0/*")
    run = fitted(model, plan)
    assert moved(model, before) == set(before) == set(run.verification.of("moved"))


def test_dropout_in_a_frozen_module_is_silent_and_beside_it_is_not() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.5))
            self.beside = nn.Dropout(0.5)
            self.last = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            return self.last(self.beside(self.frozen(x)))

    model = wrapped(Both)
    with fl.applied(model, fl.Plan().train("head/**").train("backbone/last/*")):
        layer = model.get_layer("backbone")
        layer(torch.ones(1, WIDTH), training=True)
        assert not layer.module.frozen[1].training
        assert layer.module.beside.training
    layer(torch.ones(1, WIDTH), training=True)
    assert layer.module.frozen[1].training
    assert "train" not in vars(layer)


def test_the_plan_says_which_modules_run_in_inference_mode() -> None:
    resolution = fl.Plan().train("backbone/0/*").resolve(wrapped())
    assert "run in inference mode inside their layer: backbone/1, backbone/3 (2 modules in all)" in str(
        resolution
    )
    assert resolution["backbone/1/running_mean"].why == "its module runs in inference mode"


def test_phases_thaw_and_freeze_modules() -> None:
    model = wrapped()
    plan = fl.Schedule(
        fl.Plan().train("head/**").train("backbone/0/*"),
        (fl.Phase("held", epochs=1), fl.Phase("moving", epochs=1).train("backbone/1/*")),
    )
    run = fl.fit(model, plan, *data(), verbose=0)
    outcomes = [phase.verification.of("moved") for phase in run.phases]
    assert outcomes[0] == ()
    assert "backbone/1/running_mean" in outcomes[1]


# What is proved ---------------------------------------------------------------------------------------


def test_a_buffer_that_moves_in_a_frozen_module_ends_the_run() -> None:
    with pytest.raises(VerificationError, match=r"backbone/1/seen \(changed\)"):
        fitted(wrapped(restless), fl.Plan().train("head/**").train("backbone/0/*"))


@pytest.mark.parametrize("address", ["backbone/1/calls", "backbone/1/scratch", "backbone/1/phases"])
def test_every_kind_of_buffer_is_in_the_fingerprint(address: str) -> None:
    model = wrapped(MODULES["counting"])
    mark = fl.fingerprint(model)
    module, name = model.get_layer("backbone").module[1], address.rpartition("/")[2]
    setattr(module, name, getattr(module, name) + 1)
    assert fl.fingerprint(model) != mark
    assert fl.verify(model, mark, fl.Plan().train("head/**")).of("changed") == (address,)


def test_a_receipt_holds_the_buffers(tmp_path: Any) -> None:
    model = wrapped()
    run = fitted(model, fl.Plan().train("**"))
    run.receipt.save(tmp_path / "run.json")
    receipt = fl.Receipt.load(tmp_path / "run.json")
    assert receipt.check(after=fl.fingerprint(model)) == []
    model.get_layer("backbone").module[1].running_var.mul_(2.0)
    assert any("backbone/1/running_var" in one for one in receipt.check(after=fl.fingerprint(model)))


# What cannot be held ----------------------------------------------------------------------------------


class Extra(nn.Linear):
    def get_extra_state(self) -> Any:
        return {"when": "now"}

    def set_extra_state(self, state: Any) -> None: ...


class Sparse(nn.Linear):
    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.register_buffer("graph", torch.eye(WIDTH).to_sparse())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Extra, "backbone/0 (a module with get_extra_state, whose state is not only tensors)"),
        (Sparse, "backbone/0/graph (a sparse or nested buffer)"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(kind: Any, said: str, tmp_path: Any) -> None:
    model = wrapped(lambda: nn.Sequential(kind(WIDTH, WIDTH)))
    before = [np.array(v) for v in model.weights]
    for more in ({}, {"guard": False, "resume": tmp_path / "run"}):
        with pytest.raises(ModelError) as raised:
            fitted(model, fl.Plan().train("head/**"), **more)
        assert said in str(raised.value)
    assert all(np.array_equal(one, np.array(v)) for one, v in zip(before, model.weights, strict=True))
    assert not (tmp_path / "run").exists()
    fitted(model, fl.Plan().train("head/**"), guard=False)
