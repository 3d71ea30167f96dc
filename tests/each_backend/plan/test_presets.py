"""Presets: the rules they make, for the ways in which networks name blocks, and the formulas of papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from frostline import Phase, Plan, Schedule
from frostline.errors import PlanError
from frostline.model.inventory import inventory
from frostline.plan.blocks import find_blocks
from helpers.checks import all_weights, weights_in
from helpers.messages import message_of

pytestmark = pytest.mark.eager

WIDTH = 4


class Block(layers.Layer):
    """A transformer block in small: normalization, attention, and a part of two Dense layers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization(name="norm")
        self.attention = layers.MultiHeadAttention(2, 2, name="attention")
        self.layer_1 = layers.Dense(WIDTH, activation="tanh", name="layer_1")
        self.layer_2 = layers.Dense(WIDTH, name="layer_2")

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.norm.build(shape)
        self.attention.build(shape, shape)
        self.layer_1.build(shape)
        self.layer_2.build(shape)

    def call(self, inputs: Any) -> Any:
        value = self.norm(inputs)
        return inputs + self.layer_2(self.layer_1(self.attention(value, value)))


def transformer(blocks: int = 3, prefix: str = "block_") -> keras.Model:
    """A nested `encoder` of an embedding and blocks, pooling, and Dense `head`."""
    keras.utils.set_random_seed(7)
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    value = layers.Embedding(10, WIDTH, name="embed")(tokens)
    for number in range(blocks):
        value = Block(name=f"{prefix}{number}")(value)
    encoder = keras.Model(tokens, value, name="encoder")
    inputs = keras.Input((5,), dtype="int32", name="x")
    pooled = layers.GlobalAveragePooling1D(name="pool")(encoder(inputs))
    return keras.Model(inputs, layers.Dense(2, name="head")(pooled), name="transformer")


RESNET = (
    *("conv1_conv", "conv1_bn"),
    *(f"conv2_block1_{part}" for part in ("0_conv", "0_bn", "1_conv", "1_bn", "out")),
    *(f"conv2_block2_{part}" for part in ("1_conv", "1_bn", "out")),
    *(f"conv3_block1_{part}" for part in ("0_conv", "0_bn", "1_conv", "1_bn", "out")),
)
"""Names as ResNet50 has them: a flat graph, its blocks told by what their layers share."""


def flat(names: tuple[str, ...], head: str = "predictions") -> keras.Model:
    """A chain of layers of the kinds that their names tell, without nesting."""
    keras.utils.set_random_seed(7)
    inputs = value = keras.Input((WIDTH,), name="x")
    for name in names:
        kind = layers.BatchNormalization if name.endswith("bn") else layers.Dense
        more = {} if name.endswith("bn") else {"units": WIDTH}
        value = layers.ReLU(name=name)(value) if name.endswith("out") else kind(name=name, **more)(value)
    return keras.Model(inputs, layers.Dense(2, name=head)(value), name="flat")


def rates(model: keras.Model, plan: Plan) -> dict[str, float]:
    """The multiplier of each weight that trains."""
    return {d.weight.address: d.lr for d in plan.resolve(model).trained}


def trained(model: keras.Model, plan: Plan) -> set[str]:
    """The addresses that a plan trains."""
    return set(rates(model, plan))


# --- plans ------------------------------------------------------------------------------------


def test_linear_probe() -> None:
    model = transformer()
    assert fl.linear_probe() == Plan().train("head")
    assert trained(model, fl.linear_probe()) == {"head/kernel", "head/bias"}
    assert trained(model, fl.linear_probe("encoder/block_2/**")) == weights_in(model, "encoder/block_2")


def test_bitfit() -> None:
    """Every bias, those of attention and the shift of normalizations included, and the head."""
    model = transformer(1)
    block = "encoder/block_0"
    assert trained(model, fl.bitfit()) == {
        f"{block}/norm/beta",
        *(f"{block}/attention/{part}/bias" for part in ("query", "key", "value", "attention_output")),
        f"{block}/layer_1/bias",
        f"{block}/layer_2/bias",
        "head/kernel",
        "head/bias",
    }
    assert trained(model, fl.bitfit("head/bias")) == trained(model, fl.bitfit()) - {"head/kernel"}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_last_blocks(count: int) -> None:
    model = transformer()
    plan = fl.last_blocks(model, count, lr=0.1)
    chosen = [f"encoder/block_{number}" for number in range(3)][-count:]
    expected = dict.fromkeys(weights_in(model, *chosen), 0.1)
    assert rates(model, plan) == expected | {"head/kernel": 1.0, "head/bias": 1.0}


def test_last_blocks_of_a_flat_network() -> None:
    model = flat(RESNET)
    assert find_blocks(inventory(model)) == ["conv2_block1_*/**", "conv2_block2_*/**", "conv3_block1_*/**"]
    picked = trained(model, fl.last_blocks(model, 2))
    assert picked == {a for a in all_weights(model) if a.startswith(("conv2_block2", "conv3", "predictions"))}
    assert len(picked) == 14


def test_blocks_are_found_by_structure_where_no_name_numbers_them() -> None:
    """Two kinds of composite layers, of which the larger repeats; names as Keras or a user gives them."""
    names = ("first", "second", "third")
    inputs = keras.Input((5,), dtype="int32")
    value = layers.Embedding(10, WIDTH, name="embed")(inputs)
    for name in names:
        value = Block(name=name)(value)
    value = layers.MultiHeadAttention(1, 1, name="pool")(value, value)
    model = keras.Model(inputs, layers.Dense(2, name="logits")(value))
    assert find_blocks(inventory(model)) == [f"{name}/**" for name in names]
    assert trained(model, fl.last_blocks(model, 1)) == weights_in(model, "third", "logits")


# The real names of ResNet50, MobileNetV2, EfficientNet and ConvNeXt are tried in test_architectures.py and
# in the command line's tests; here, what is near to being a block and is none, and the other way round.
FINDS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "letters": (("block1a_dense", "block1b_dense", "block6a_dense"), ["block1a_*", "block1b_*", "block6a_*"]),
    "stages": (
        ("stage_0_block_0_dense", "stage_0_block_1_dense", "stage_1_block_0_dense"),
        ["stage_0_block_0_*", "stage_0_block_1_*", "stage_1_block_0_*"],
    ),
    "ten and one": (("block_1", "block_10", "block_2"), ["block_1", "block_10", "block_2"]),
    "bare": (("layer1", "layer2"), ["layer1", "layer2"]),
    "prefixed": (("my_layer_3", "my_layer_4"), ["my_layer_3", "my_layer_4"]),
    "none": (("dense", "dense_1", "blocked", "block", "one_block"), []),
}


@pytest.mark.parametrize("case", FINDS)
def test_blocks_are_found_by_name(case: str) -> None:
    names, expected = FINDS[case]
    assert find_blocks(inventory(flat(names))) == [f"{name}/**" for name in expected]


def test_blocks_one_and_ten_are_kept_apart() -> None:
    """Glob `block_1_*` is not of `block_10_...`."""
    model = flat(("block_1_dense", "block_2_dense", "block_10_dense"))
    plan = fl.last_blocks(model, 2)
    assert trained(model, plan) == weights_in(model, "block_2_dense", "block_10_dense", "predictions")


@pytest.mark.parametrize(
    ("prefix", "blocks"), [("part_", "encoder/part_*"), ("b", "**/b[0-9]"), ("b", "encoder/b*")]
)
def test_blocks_may_be_named(prefix: str, blocks: str) -> None:
    """Also such as no pattern would find; a block is the layer, not what is below it."""
    model = transformer(2, prefix)
    found = find_blocks(inventory(model), blocks)
    assert found == [f"encoder/{prefix}{number}/**" for number in range(2)]
    picked = trained(model, fl.last_blocks(model, 1, blocks=blocks))
    assert picked == weights_in(model, f"encoder/{prefix}1", "head")


# --- learning rates ---------------------------------------------------------------------------


def groups_of(model: keras.Model, count: int) -> list[set[str]]:
    """All before the blocks, each block, the head."""
    blocks = [weights_in(model, f"encoder/block_{number}") for number in range(count)]
    return [{"encoder/embed/embeddings"}, *blocks, {"head/kernel", "head/bias"}]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("decay", "least"), [(0.75, 0.0), (0.5, 0.2), (1.0, 0.0), (0.9, 1.0)])
def test_layerwise_decay_has_the_factors_of_timm(count: int, decay: float, least: float) -> None:
    """Group i of L, from the input: max(min_scale, decay ** (L - 1 - i))."""
    model = transformer(count)
    found = rates(model, fl.layerwise_lr_decay(model, decay, min_scale=least))
    groups = groups_of(model, count)
    for place, group in enumerate(groups):
        factor = max(least, decay ** (len(groups) - 1 - place))
        assert {address: found.pop(address) for address in group} == dict.fromkeys(group, factor)
    assert found == {}


@pytest.mark.parametrize("lowest", [0.001, 0.1, 1.0])
def test_discriminative_rates_are_geometric(lowest: float) -> None:
    model = transformer(3)
    found = rates(model, fl.discriminative(model, lowest))
    steps = [{found.pop(address) for address in group} for group in groups_of(model, 3)]
    assert found == {}
    np.testing.assert_allclose([one for (one,) in steps], np.geomspace(lowest, 1.0, 5), rtol=1e-12)


def test_rates_hold_in_training() -> None:
    """A step of plain SGD is as long as its multiplier says, group by group."""
    model, plain = transformer(2), transformer(2)
    for one in (model, plain):
        one.compile(keras.optimizers.SGD(0.1), "mse")
    before = {w.address: w.numpy() for w in inventory(model)}
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 10, (4, 5)), rng.normal(size=(4, 2)).astype("float32")
    plan = fl.layerwise_lr_decay(model, 0.5)
    fl.fit(model, plan, x, y, batch_size=4, verbose=0)
    fl.fit(plain, Plan(default="train"), x, y, batch_size=4, verbose=0)
    factors = rates(model, plan)
    for one, other in zip(inventory(model), inventory(plain), strict=True):
        if one.address in factors:
            step = (other.numpy() - before[one.address]) * factors[one.address]
            np.testing.assert_allclose(one.numpy() - before[one.address], step, rtol=1e-3, atol=1e-6)


# --- schedules --------------------------------------------------------------------------------


def test_lp_ft() -> None:
    model = transformer()
    schedule = fl.lp_ft(probe=2, finetune=3, lr=0.01, head="head/**")
    assert schedule == Schedule(
        Plan().train("head/**"), (Phase("probe", epochs=2), Phase("finetune", epochs=3, lr=0.01).train("**"))
    )
    probe, finetune = (schedule.plan_of(phase) for phase in schedule.phases)
    assert rates(model, probe) == {"head/kernel": 1.0, "head/bias": 1.0}
    assert rates(model, finetune) == dict.fromkeys(all_weights(model), 0.01)


@pytest.mark.parametrize("build", [transformer, lambda: flat(RESNET)], ids=["nested", "flat"])
def test_gradual_unfreezing(build: Callable[[], keras.Model]) -> None:
    """Each phase trains one block more, from the head down; training obeys."""
    model = build()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    globs = find_blocks(inventory(model))
    schedule = fl.gradual_unfreezing(model)
    names = ["head", "last 1 block", "last 2 blocks", "last 3 blocks", "everything"]
    assert [phase.name for phase in schedule.phases] == names

    head = trained(model, Plan().train("head"))
    expected, rising = [head], head
    for glob in reversed(globs):
        rising = rising | trained(model, Plan().train(glob))
        expected.append(rising)
    expected.append(all_weights(model))
    assert [trained(model, schedule.plan_of(phase)) for phase in schedule.phases] == expected

    rng = np.random.default_rng(1)
    x = rng.integers(0, 10, (4, 5)) if model.name == "transformer" else rng.normal(size=(4, WIDTH))
    run = fl.fit(model, schedule, x, rng.normal(size=(4, 2)), batch_size=4, verbose=0)
    assert [{d.weight.address for d in p.resolution.trained} for p in run.phases] == expected
    assert run.history.history["phase"] == names
    for phase, allowed in zip(run.phases, expected, strict=True):
        assert set(phase.verification.of("trained")) <= allowed
        assert set(phase.verification.of("intact")) == all_weights(model) - allowed


def test_gradual_unfreezing_is_plain_rules() -> None:
    model = transformer(2, "part_")
    schedule = fl.gradual_unfreezing(model, epochs=2, blocks="encoder/part_*", head="head/**")
    assert str(schedule) == (
        "default: freeze\n"
        "1. train 'head/**'\n"
        "phase head: 2 epochs\n"
        "phase last 1 block: 2 epochs; train 'encoder/part_1/**'\n"
        "phase last 2 blocks: 2 epochs; train 'encoder/part_1/**'; train 'encoder/part_0/**'\n"
        "phase everything: 2 epochs; train '**'"
    )


# --- refusals ---------------------------------------------------------------------------------

MEND = "  fix:      say which layers are blocks: blocks='encoder/block_*'"


@pytest.mark.parametrize("preset", [fl.layerwise_lr_decay, fl.discriminative, fl.gradual_unfreezing])
def test_a_network_without_blocks(preset: Callable[..., Any]) -> None:
    model = flat(("one", "two"))
    assert message_of(PlanError, lambda: preset(model)) == (
        f"no blocks were found in the model 'flat'.\n  received: no layers whose names number "
        f"a block, and none of one class side by side\n{MEND}"
    )
    assert message_of(PlanError, lambda: preset(model, blocks="encoder/b*")) == (
        f"no blocks were found in the model 'flat'.\n  received: blocks='encoder/b*'\n{MEND}"
    )


@pytest.mark.parametrize("count", [0, -1, 4, 1.0, "2"])
def test_a_count_of_blocks_that_are_not_there(count: Any) -> None:
    assert message_of(PlanError, lambda: fl.last_blocks(transformer(), count)) == (
        f"cannot train the last {count} blocks of the model 'transformer'.\n"
        "  received: 3 blocks found: encoder/block_0/**, encoder/block_1/**, encoder/block_2/**\n"
        "  expected: a whole number from 1 to the number of blocks"
    )


def test_last_blocks_of_a_network_without_blocks() -> None:
    assert message_of(PlanError, lambda: fl.last_blocks(flat(("one",)), 1)) == (
        "cannot train the last 1 blocks of the model 'flat'.\n"
        "  received: 0 blocks found: none\n"
        f"  expected: a whole number from 1 to the number of blocks\n{MEND}"
    )


@pytest.mark.parametrize(
    ("decay", "least"), [(0, 0.0), (1.1, 0.0), (0.5, -0.1), (0.5, 2.0), (float("nan"), 0.0)]
)
def test_a_decay_out_of_range(decay: float, least: float) -> None:
    assert message_of(PlanError, lambda: fl.layerwise_lr_decay(transformer(1), decay, min_scale=least)) == (
        "the factor of a layer-wise decay is out of range.\n"
        f"  received: decay={decay!r}, min_scale={least!r}\n"
        "  expected: decay above 0 and at most 1, min_scale from 0 to 1"
    )


@pytest.mark.parametrize("lowest", [0, -0.1, 1.5, float("nan")])
def test_a_lowest_rate_out_of_range(lowest: float) -> None:
    assert message_of(PlanError, lambda: fl.discriminative(transformer(1), lowest)) == (
        f"the lowest rate is out of range.\n  received: {lowest!r}\n  expected: above 0 and at most 1"
    )


def test_phases_of_no_epochs() -> None:
    text = "the number of epochs is out of range.\n  received: 0\n  expected: a whole number from 1 up"
    assert message_of(PlanError, lambda: fl.lp_ft(probe=0)) == text
    assert message_of(PlanError, lambda: fl.gradual_unfreezing(transformer(1), epochs=0)) == text
