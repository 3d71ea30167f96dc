"""Models on several devices, processes and machines are refused by name, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.backends.dispatch import of_backend
from frostline.errors import DistributionError
from helpers.checks import changed, values
from helpers.small_models import compiled, data_for, two_dense

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()
PLAN = fl.Plan().train("b/**")
ALL = fl.Plan(default="train")


def refusal(call: Callable[[], Any], model: Any = None) -> str:
    """Call, and return what is said; the model is as before, and every part of the message is there."""
    before = values(model) if model is not None else {}
    flags = [v.trainable for v in model.variables] if model is not None else []
    with pytest.raises(DistributionError) as caught:
        call()
    if model is not None:
        assert changed(model, before) == set()
        assert [v.trainable for v in model.variables] == flags
    assert caught.value.received and caught.value.expected and caught.value.remedy
    return str(caught.value)


def test_a_model_of_this_process_is_not_refused() -> None:
    model = compiled(two_dense())
    before = fl.fingerprint(model)
    fl.fit(model, PLAN, *data_for(model), verbose=0)
    assert fl.verify(model, before, PLAN).ok


if BACKEND == "torch":
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    @pytest.fixture(scope="module")
    def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """A process group of this process alone."""
        store = distributed.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
        distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        yield
        distributed.destroy_process_group()

    @pytest.fixture
    def model(group: None) -> keras.Model:
        return compiled(two_dense())

    def verbs(model: Any, data: Any, before: Any) -> dict[str, Callable[[], Any]]:
        return {
            "fit": lambda: fl.fit(model, PLAN, *data, verbose=0),
            "apply": lambda: fl.apply(model, PLAN),
            "optimizer_for": lambda: fl.optimizer_for(model, PLAN, "sgd"),
            "verify": lambda: fl.verify(model, before, PLAN),
        }

    @pytest.mark.parametrize("verb", ["fit", "apply", "optimizer_for", "verify"])
    def test_a_wrapper_is_named(model: Any, verb: str) -> None:
        before, data = fl.fingerprint(model), data_for(model)
        wrapped = DistributedDataParallel(model)
        said = refusal(verbs(wrapped, data, before)[verb])
        assert "is wrapped in DistributedDataParallel" in said

    @pytest.mark.parametrize("verb", ["fit", "verify"])
    def test_so_is_one_around_the_model_that_is_given(model: Any, verb: str) -> None:
        before, data = fl.fingerprint(model), data_for(model)
        wrapped = DistributedDataParallel(model)
        assert "is inside a DistributedDataParallel" in refusal(verbs(model, data, before)[verb], model)
        del wrapped  # as the message says
        assert verbs(model, data, before)[verb]() is not None

    def test_so_is_one_around_a_part_of_it(model: Any) -> None:
        wrapped = DistributedDataParallel(model.get_layer("a"))
        assert "is inside a" in refusal(lambda: fl.fit(model, PLAN, *data_for(model), verbose=0), model)
        assert wrapped is not None

    def test_the_same_wrapper_may_see_less_but_not_more(model: Any) -> None:
        fl.apply(model, ALL)
        wrapped = DistributedDataParallel(model)
        fl.apply(model, PLAN)
        said = refusal(lambda: fl.apply(model, ALL), model)
        assert "cannot train more than before" in said
        assert "cannot" in refusal(lambda: fl.optimizer_for(model, ALL, "sgd"), model)
        del wrapped  # as the message says
        fl.apply(model, ALL)
        again = DistributedDataParallel(model)
        optimizer = fl.optimizer_for(model, ALL, "sgd")
        again(torch.ones(2, 4)).sum().backward()
        gradients = [v.value.grad for v in model.trainable_variables]
        with torch.no_grad():
            optimizer.apply(gradients, model.trainable_variables)

    def test_undoing_a_plan_under_a_wrapper_warns(model: Any) -> None:
        applied = fl.apply(model, PLAN)
        wrapped = DistributedDataParallel(model)
        with pytest.warns(UserWarning, match="is inside a DistributedDataParallel"):
            applied.undo()
        assert model.get_layer("a").kernel.trainable and wrapped is not None

    def test_a_part_in_a_wrapper_is_named(group: None) -> None:
        inner = DistributedDataParallel(torch.nn.Linear(4, 3))
        layers = [keras.Input((4,)), keras.layers.TorchModuleWrapper(inner), keras.layers.Dense(2, name="b")]
        model = compiled(keras.Sequential(layers))
        data = np.ones((4, 4), "float32"), np.ones((4, 2), "float32")
        model(data[0])
        assert "holds a part that is wrapped in" in refusal(lambda: fl.fit(model, PLAN, *data, verbose=0))
        assert "holds a part" in refusal(lambda: fl.apply(model, PLAN))

    def test_sharded_models_are_named(group: None) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (1,))
        inner = torch.nn.Linear(4, 3)
        layers = [keras.Input((4,)), keras.layers.TorchModuleWrapper(inner), keras.layers.Dense(2, name="b")]
        model = compiled(keras.Sequential(layers))
        data = np.ones((4, 4), "float32"), np.ones((4, 2), "float32")
        model(data[0])
        before = fl.fingerprint(model)
        fully_shard(inner, mesh=mesh)
        for call in verbs(model, data, before).values():
            assert "is sharded over processes" in refusal(call)
        assert "is sharded" in refusal(lambda: fl.fingerprint(model))


if BACKEND == "jax":

    def test_a_model_axis_over_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
        devices = keras.distribution.list_devices()[:1]
        mesh = keras.distribution.DeviceMesh((1, 1), ["batch", "model"], devices)
        layout = keras.distribution.LayoutMap(mesh)
        layout["a/kernel"] = (None, "model")
        parallel = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
        monkeypatch.setattr(keras.distribution, "distribution", lambda: parallel)
        model = compiled(two_dense())
        before, data = fl.fingerprint(model), data_for(model)
        fl.fit(model, PLAN, *data, verbose=0)  # one process sees all of it
        monkeypatch.setattr(of_backend("machines"), "process_count", lambda: 2)
        calls = [
            lambda: fl.fit(model, PLAN, *data, verbose=0),
            lambda: fl.apply(model, PLAN),
            lambda: fl.verify(model, before, PLAN),
            lambda: fl.fingerprint(model),
        ]
        for call in calls:
            said = refusal(call)
            assert "has weights of which other JAX processes hold parts" in said
            assert "ModelParallel over 2 processes" in said
        replicated = keras.distribution.DataParallel(devices=devices)
        monkeypatch.setattr(keras.distribution, "distribution", lambda: replicated)  # as the message says
        assert fl.verify(model, before, PLAN).ok


if BACKEND == "tensorflow":
    import tensorflow as tf

    @pytest.fixture(scope="module")
    def strategy() -> Any:
        return tf.distribute.MirroredStrategy(["CPU:0"])

    def made(strategy: Any, *, trained: bool = False) -> keras.Model:
        with strategy.scope():
            model = compiled(two_dense())
        if trained:
            model.fit(*data_for(model), verbose=0)
        return model

    @pytest.mark.parametrize("trained", [False, True])
    def test_a_strategy_outside_its_scope(strategy: Any, trained: bool) -> None:
        model = made(strategy, trained=trained)
        data = data_for(model)
        said = refusal(lambda: fl.fit(model, PLAN, *data, verbose=0), model)
        assert "was made under MirroredStrategy, and this call stands outside its scope" in said
        assert "outside its scope" in refusal(lambda: fl.apply(model, PLAN), model)
        assert "outside its scope" in refusal(lambda: fl.optimizer_for(model, PLAN, "sgd"), model)
        model.fit(*data, verbose=0)  # as usable as before
        before = fl.fingerprint(model)
        with strategy.scope():  # as the message says
            run = fl.fit(model, PLAN, *data, verbose=0)
        assert run.verification.ok and fl.verify(model, before, PLAN).of("trained") == ("b/kernel", "b/bias")
        assert "several devices" in run.gradients_not_checked

    def test_schedules_and_multipliers_in_the_scope(strategy: Any) -> None:
        model = made(strategy)
        data = data_for(model)
        schedule = fl.Schedule(PLAN, (fl.Phase("p", epochs=1), fl.Phase("q", epochs=1).train("a/**")))
        with strategy.scope():
            assert "a schedule" in refusal(lambda: fl.fit(model, schedule, *data, verbose=0), model)
            slow = fl.Plan().train("b/**", lr=0.1)
            assert "multipliers" in refusal(lambda: fl.fit(model, slow, *data, verbose=0), model)
            fl.fit(model, PLAN, *data, verbose=0)
            assert "several plans" in refusal(lambda: fl.fit(model, ALL, *data, verbose=0), model)
            fl.fit(model, PLAN, *data, verbose=0)
        model.fit(*data, verbose=0)

    def test_a_model_made_outside_of_the_scope_that_the_call_stands_in(strategy: Any) -> None:
        model = compiled(two_dense())
        with strategy.scope():
            said = refusal(lambda: fl.fit(model, PLAN, *data_for(model), verbose=0), model)
        assert "was made outside the scope of MirroredStrategy" in said
        fl.fit(model, PLAN, *data_for(model), verbose=0)  # as the message says
