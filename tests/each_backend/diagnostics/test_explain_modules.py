"""`explain` takes nests, pytrees and modules as they are, and tells a zero at the start from a dead one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline.errors import FrostlineError
from helpers.foreign_models import foreign_models

BACKEND = keras.backend.backend()
pytestmark = [pytest.mark.every_backend, pytest.mark.eager]
STARTING = "its gradient is zero at the start only"


def variable(name: str, value: float = 0.7) -> Any:
    return keras.Variable(np.full((2, 2), value, "float32"), name=name)


def statuses(answer: fl.Explanations) -> dict[str, str]:
    return {name: one.status for name, one in answer.items()}


def test_a_nest_of_variables() -> None:
    nest = {"encoder": [{"kernel": variable("k")}, (variable("b"),)], "head": variable("h"), "none": {}}
    every = [nest["encoder"][0]["kernel"], nest["encoder"][1][0]]  # type: ignore[index]
    answer = fl.explain(lambda: ops.sum(ops.round(every[0]) + every[1]), nest)
    assert statuses(answer) == {"encoder/0/kernel": "cut", "encoder/1/0": "trains", "head": "unused"}
    assert list(fl.explain(lambda: ops.sum(every[0]), [{"kernel": every[0]}, every[1]])) == ["0/kernel", "b"]


def test_a_model_of_keras() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    answer = fl.explain(lambda: ops.mean(model(ops.ones((3, 2)))), model)
    assert set(answer) == {weight.path for weight in model.weights}
    moving = [one.status for name, one in answer.items() if "moving" in name]
    assert moving == ["frozen", "frozen"]
    nested = fl.explain(lambda: ops.mean(model(ops.ones((3, 2)))), {"net": model})
    assert all(name.startswith("net/") for name in nested)


# What is not to train -----------------------------------------------------------------------------


def test_leaves_can_be_marked() -> None:
    nest = {"encoder": {"a": variable("a"), "b": variable("b")}, "head": variable("h")}
    a, b, head = nest["encoder"]["a"], nest["encoder"]["b"], nest["head"]  # type: ignore[index]

    def loss() -> Any:
        return ops.sum(a * b * head)

    assert statuses(fl.explain(loss, nest, frozen="encoder/**")) == {
        "encoder/a": "frozen",
        "encoder/b": "frozen",
        "head": "trains",
    }
    answer = fl.explain(loss, nest, frozen=["head", "encoder/a"])
    assert statuses(answer) == {"encoder/a": "frozen", "encoder/b": "trains", "head": "frozen"}
    assert answer["head"].remedy == "take it out of `frozen` if it is to train"
    assert answer.ok


def test_a_mark_that_marks_nothing() -> None:
    one = variable("kernel")
    with pytest.raises(FrostlineError) as caught:
        fl.explain(lambda: ops.sum(one), [one], frozen="kernle")
    assert str(caught.value) == (
        "no variable is named 'kernle', which is to be frozen.\n"
        "  received: kernel\n"
        "  fix:      did you mean kernel?"
    )
    with pytest.raises(FrostlineError, match="`frozen` holds names of variables"):
        fl.explain(lambda: ops.sum(one), [one], frozen=[one])  # type: ignore[list-item]


# Zero at the start --------------------------------------------------------------------------------


def test_a_factor_beside_zeros_is_not_dead() -> None:
    down, up, base = variable("down"), variable("up", 0.0), variable("base")
    answer = fl.explain(lambda: ops.sum(base + ops.matmul(down, up)), [down, up, base])
    assert statuses(answer) == {"down": "trains", "up": "trains", "base": "trains"}
    assert answer["down"].note.startswith(STARTING)
    assert not answer["down"].gradient_norm
    assert not answer["up"].note.startswith(STARTING)
    assert np.array_equal(ops.convert_to_numpy(up), np.zeros((2, 2)))


def test_of_three_factors_two_begin_at_zero() -> None:
    first, second, third = variable("first"), variable("second", 0.0), variable("third")

    def loss() -> Any:
        return ops.sum(ops.matmul(first, ops.matmul(second, third)))

    assert set(statuses(fl.explain(loss, [first, second, third])).values()) == {"trains"}
    third.assign(ops.zeros((2, 2)))
    assert set(statuses(fl.explain(loss, [first, second, third])).values()) == {"zero"}


def test_beside_zeros_that_do_not_train_it_is_dead() -> None:
    down, up, base = variable("down"), variable("up", 0.0), variable("base")

    def loss() -> Any:
        return ops.sum(base + ops.matmul(down, up))

    assert fl.explain(loss, [down, up, base], frozen="up")["down"].status == "zero"
    up.trainable = False
    assert fl.explain(loss, [down, up, base])["down"].status == "zero"


def test_what_is_dead_for_another_reason_stays_dead() -> None:
    """A bias that begins at zero makes a step, and no unit is switched on by it."""
    kernel, bias = variable("kernel", -5.0), variable("bias", 0.0)
    answer = fl.explain(
        lambda: ops.sum(ops.relu(ops.matmul(ops.ones((1, 2)), kernel)) + bias[0]), [kernel, bias]
    )
    assert statuses(answer) == {"kernel": "zero", "bias": "trains"}


def test_an_audit_tells_them_apart_too() -> None:
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, name="d"), keras.layers.Dense(1, name="h")]
    )
    model.layers[0].enable_lora(2)
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    report = fl.audit(model, x, y)
    assert report.statuses["d/lora_kernel_a"] == "trains"
    assert report.ok
    assert STARTING in str(fl.why(model, "d/lora_kernel_a", x, y)).replace("\n  ", " ")
    assert not ops.convert_to_numpy(model.layers[0].lora_kernel_b).any()
    frozen = fl.audit(model, x, y, plan=fl.Plan().train("**").freeze("d/lora_kernel_b"))
    assert frozen.statuses["d/lora_kernel_a"] == "zero"


# Modules of the backend ---------------------------------------------------------------------------


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch")
def test_a_module_of_pytorch() -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    module[1].bias.requires_grad_(False)
    x = torch.ones(1, 2)
    assert statuses(fl.explain(lambda: module[1](module[0](x).detach()).sum(), module)) == {
        "0.weight": "cut",
        "0.bias": "cut",
        "1.weight": "trains",
        "1.bias": "frozen",
    }
    both = fl.explain(lambda: module(x).sum(), {"first": module[0], "more": [module[1]]}, frozen="first/*")
    assert list(both) == ["first/weight", "first/bias", "more/0/weight", "more/0/bias"]
    assert both["first/bias"].status == "frozen"
    assert not module[1].bias.requires_grad


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch")
def test_an_adapter_of_peft_before_its_first_step() -> None:
    import peft
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    adapted = peft.get_peft_model(net, peft.LoraConfig(r=2, target_modules=["0"]))
    before = {name: p.detach().clone() for name, p in adapted.named_parameters()}
    answer = fl.explain(lambda: adapted(torch.ones(1, 2)).sum(), adapted)
    found = {name.removeprefix("base_model.model."): status for name, status in statuses(answer).items()}
    assert found["0.lora_A.default.weight"] == found["0.lora_B.default.weight"] == "trains"
    assert {status for name, status in found.items() if "lora" not in name} == {"frozen"}
    assert answer.ok
    assert all(torch.equal(before[name], p) for name, p in adapted.named_parameters())


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
def test_a_module_of_tensorflow() -> None:
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable([1.0, 2.0], name="kernel")
    module.zeros = tf.Variable([0.0, 0.0], name="zeros")
    module.count = tf.Variable(0.0, trainable=False, name="count")
    answer = fl.explain(lambda: tf.reduce_sum(module.kernel * module.zeros), module)
    assert statuses(answer) == {"count": "frozen", "kernel": "trains", "zeros": "trains"}
    assert not module.zeros.numpy().any()


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
def test_a_pytree() -> None:
    import jax.numpy as jnp

    tree = {"lora": (jnp.ones((2, 2)), jnp.zeros((2, 2))), "base": [jnp.ones((2, 2)), 3, "text"]}

    def loss(tree: Any) -> Any:
        return jnp.sum(tree["base"][0] + tree["lora"][0] @ tree["lora"][1]) * tree["base"][1]

    answer = fl.explain(loss, tree, frozen="base/*")
    assert statuses(answer) == {"lora/0": "trains", "lora/1": "trains", "base/0": "frozen"}


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
def test_a_module_of_flax_nnx() -> None:
    nnx = pytest.importorskip("flax.nnx")
    import jax.numpy as jnp

    class Net(nnx.Module):  # type: ignore[misc]
        def __init__(self, rngs: Any) -> None:
            self.first = nnx.Linear(2, 3, rngs=rngs)
            self.norm = nnx.BatchNorm(3, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.blocks = nnx.List([nnx.Linear(3, 1, rngs=rngs)])

        def __call__(self, x: Any) -> Any:
            return self.blocks[0](jnp.round(self.drop(self.norm(self.first(x)))))

    net = Net(nnx.Rngs(0))
    x = jnp.arange(8.0).reshape(4, 2)
    answer = fl.explain(lambda net: jnp.sum(net(x) * x), net, frozen="blocks/0/bias")
    assert statuses(answer) == {
        "blocks/0/bias": "frozen",
        "blocks/0/kernel": "trains",
        "first/bias": "cut",
        "first/kernel": "cut",
        "norm/bias": "cut",
        "norm/mean": "frozen",
        "norm/scale": "cut",
        "norm/var": "frozen",
    }
    with pytest.raises(FrostlineError, match="a function that takes the module"):
        fl.explain(lambda: jnp.sum(net(jnp.ones((4, 2)))), net)


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PyTorch", "Transformers", "Flax NNX", "Keras 2"])
def test_a_model_that_this_backend_does_not_know(kind: str) -> None:
    with pytest.raises(FrostlineError) as caught:
        fl.explain(lambda *_: ops.ones(()), foreign_models()[kind])
    assert f"of which Keras on {BACKEND} knows no variables" in str(caught.value)
    assert "KERAS_BACKEND=" in str(caught.value)
