"""Hypothesis strategies for small random Keras models, plans over their addresses, and optimizers.

A model is drawn as a `Recipe`, plain data that prints and shrinks; `Recipe.build` makes the model, and makes
an equal one each time. Layers have names of their own, equal ones in different containers on purpose. All
weights are set to well-scaled random numbers, so that gradients are not zero for want of a value.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers

import frostline as fl
from frostline.model.inventory import Inventory, inventory
from frostline.plan.selectors import Selector, selector
from helpers.garbage import collect_at_rest

WIDTH = 3
STEPS = 3
TOKENS = 6
OUTPUTS = 2
BATCH = 4
SAMPLES = 3 * BATCH
"""An odd number of steps: Lion's are all of one size, and two could cancel."""

SOURCES = {"numbers": (WIDTH,), "image": (4, 4, WIDTH), "series": (STEPS, WIDTH), "tokens": (STEPS,)}

_PLAIN = ("dense", "norm", "scaled", "layernorm", "dropout")
_BY_SOURCE = {
    "numbers": _PLAIN,
    "image": ("conv", "norm", "layernorm", "dropout"),
    "series": (*_PLAIN, "lstm", "gru", "attention"),
    "tokens": (*_PLAIN, "lstm", "gru", "attention"),
}
_SINGLE: dict[str, Callable[..., Any]] = {
    "dense": partial(layers.Dense, WIDTH, activation="tanh"),
    "conv": partial(layers.Conv2D, WIDTH, 3, padding="same", activation="tanh"),
    "norm": partial(layers.BatchNormalization, momentum=0.8),
    "layernorm": layers.LayerNormalization,
    "dropout": partial(layers.Dropout, 0.2, seed=3),
    "lstm": partial(layers.LSTM, WIDTH, return_sequences=True),
    "gru": partial(layers.GRU, WIDTH, return_sequences=True),
    "attention": partial(layers.MultiHeadAttention, num_heads=2, key_dim=2),
}
_HOLDERS = ("functional", "sequential", "block", "twins")
_REPEATING = ("shared", "attention", "twins")
"""Kinds that a Sequential model cannot hold: a layer twice, two inputs, models that share layers."""


# --- recipes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A piece of a model that keeps the shape of its input: a layer, or a container of parts."""

    kind: str
    name: str
    inner: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A model: an input, parts that keep its shape, pooling, parts on numbers, and a Dense `head`.

    Attributes:
        style: `functional`, `sequential`, or a subclassed model that holds its layers in a `list` or `dict`.
        source: What goes in: `numbers`, `image`, `series` or `tokens` (ids for an Embedding).
        front: Parts before pooling.
        body: Parts after it.
    """

    style: str
    source: str
    front: tuple[Part, ...]
    body: tuple[Part, ...]

    def build(self, name: str = "root") -> keras.Model:
        """Make the model, built, not compiled."""
        collect_at_rest()  # many examples make one test
        drawn = random.getstate()
        try:
            model = self._built(name)
        finally:
            # Initializers draw their seeds from it, and Hypothesis wants it untouched.
            random.setstate(drawn)
        _set_weights(model)
        return model

    def _built(self, name: str) -> keras.Model:
        made, shape = self._layers(), SOURCES[self.source]
        if self.style == "functional":
            inputs = keras.Input(shape, name="x", dtype="int32" if self.source == "tokens" else None)
            return keras.Model(inputs, _chain(made, inputs), name=name)
        if self.style == "sequential":
            return keras.Sequential([keras.Input(shape, name="x"), *made], name=name)
        held = made if self.style == "list" else {f"key_{n}": one for n, one in enumerate(made)}
        model = Subclassed(held, name=name)
        model.build((None, *shape))
        return model

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, the same at every call."""
        rng = np.random.default_rng(5)
        y = rng.normal(size=(SAMPLES, OUTPUTS)).astype("float32")
        if self.source == "tokens":
            return rng.permutation(np.arange(SAMPLES * STEPS) % TOKENS).reshape(-1, STEPS), y
        return rng.normal(size=(SAMPLES, *SOURCES[self.source])).astype("float32"), y

    def _layers(self) -> list[Any]:
        width = (STEPS, WIDTH) if self.source == "tokens" else SOURCES[self.source]
        made: list[Any] = []
        if self.source == "tokens":
            made.append(layers.Embedding(TOKENS, WIDTH, name="tokens"))
        made += _made(self.front, width)
        if self.source == "image":
            made.append(layers.GlobalAveragePooling2D(name="pool"))
        elif self.source != "numbers":
            made.append(layers.GlobalAveragePooling1D(name="pool"))
        made += _made(self.body, (WIDTH,))
        return [*made, layers.Dense(OUTPUTS, name="head")]


@keras.saving.register_keras_serializable("frostline_random")
class Block(layers.Layer):
    """A custom layer with sublayers in a list, and a weight of its own that scales their output."""

    def __init__(self, parts: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = parts

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        _build_chain(self.parts, shape)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape

    def call(self, inputs: Any) -> Any:
        return inputs + _chain(self.parts, inputs) * self.scale


class Subclassed(keras.Model):
    """A subclassed model with its layers in a list or a dict."""

    def __init__(self, parts: list[Any] | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = parts

    @property
    def chain(self) -> list[Any]:
        return list(self.parts.values() if isinstance(self.parts, dict) else self.parts)

    def build(self, shape: tuple[int | None, ...]) -> None:
        _build_chain(self.chain, shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        # Without the argument Keras trains with every layer in inference mode, and so does JAX where it is
        # not handed on.
        return _chain(self.chain, inputs, training=training)


def _chain(made: list[Any], value: Any, **given: Any) -> Any:
    for layer in made:
        attends = isinstance(layer, layers.MultiHeadAttention)
        value = layer(value, value, **given) if attends else layer(value, **given)
    return value


def _build_chain(made: list[Any], shape: tuple[int | None, ...]) -> None:
    for layer in made:
        attends = isinstance(layer, layers.MultiHeadAttention)
        if not layer.built:
            layer.build(*(shape, shape) if attends else (shape,))
        if not attends:
            shape = layer.compute_output_shape(shape)


def _made(parts: tuple[Part, ...], shape: tuple[int, ...]) -> list[Any]:
    return [layer for part in parts for layer in _layers_of(part, shape)]


def _layers_of(part: Part, shape: tuple[int, ...]) -> list[Any]:
    """The layers of a part, in the order of their calls."""
    name = part.name
    if part.kind in _SINGLE:
        return [_SINGLE[part.kind](name=name)]
    match part.kind:
        case "scaled":
            dense = layers.Dense(WIDTH, use_bias=False, name=f"{name}_dense")
            return [dense, layers.BatchNormalization(momentum=0.8, name=f"{name}_norm")]
        case "shared":
            twice = layers.Dense(WIDTH, activation="tanh", name=name)
            return [twice, layers.Dense(WIDTH, activation="tanh", name=f"{name}_between"), twice]
        case _:
            return _container(part, shape)


def _container(part: Part, shape: tuple[int, ...]) -> list[Any]:
    match part.kind:
        case "functional":
            return [_functional(_made(part.inner, shape), shape, part.name)]
        case "sequential":
            return [
                keras.Sequential([keras.Input(shape, name="x"), *_made(part.inner, shape)], name=part.name)
            ]
        case "block":
            return [Block(_made(part.inner, shape), name=part.name)]
        case "twins":
            common = layers.Dense(WIDTH, activation="tanh", name="common")
            return [
                _functional([common, *_made(part.inner, shape)], shape, f"{part.name}_{side}")
                for side in ("left", "right")
            ]
        case other:
            raise AssertionError(other)


def _functional(made: list[Any], shape: tuple[int, ...], name: str) -> keras.Model:
    inputs = keras.Input(shape, name="x")
    return keras.Model(inputs, _chain(made, inputs), name=name)


def _set_weights(model: keras.Model) -> None:
    """Set biases, scales and kernels to numbers under which no gradient vanishes."""
    rng = np.random.default_rng(11)
    for weight in model.trainable_variables:
        shape = tuple(weight.shape)
        if weight.name in ("gamma", "scale"):
            value = rng.uniform(0.7, 1.3, shape)
        elif len(shape) > 1:
            value = rng.normal(0, 0.9 / np.sqrt(min(np.prod(shape[:-1]), 9)), shape)
        else:
            value = rng.uniform(-0.3, 0.3, shape)
        weight.assign(value.astype("float32"))


# --- models -----------------------------------------------------------------------------------


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """A random `Recipe`."""
    style = draw(st.sampled_from(("functional", "list", "dict", "sequential")))
    source = draw(st.sampled_from(tuple(SOURCES)))
    same_names = style in ("list", "dict") and draw(st.booleans())
    flat = style == "sequential"
    front = () if source == "numbers" else draw(_parts(source, "front", 2, flat, 1))
    body = draw(_parts("numbers", "body", 2, flat, 2))
    if same_names:
        # A list of layers may hold neighbours of one name; a graph may not.
        front, body = _same_names(front), _same_names(body)
    return Recipe(style, source, front, body)


def _same_names(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(Part(part.kind, "part", part.inner) for part in parts)


def _parts(
    source: str, prefix: str, most: int, flat: bool, depth: int
) -> st.SearchStrategy[tuple[Part, ...]]:
    kinds = list(_BY_SOURCE[source])
    if source != "image":
        kinds.append("shared")
    if depth > 0:
        kinds += [k for k in _HOLDERS if k != "twins" or source != "image"]
    if flat:
        kinds = [k for k in kinds if k not in _REPEATING]

    def named(numbered: list[Part]) -> tuple[Part, ...]:
        return tuple(Part(p.kind, f"{prefix}_{n}", p.inner) for n, p in enumerate(numbered))

    one = st.sampled_from(kinds).flatmap(lambda kind: _part(kind, source, depth))
    return st.lists(one, min_size=1, max_size=most).map(named)


def _part(kind: str, source: str, depth: int) -> st.SearchStrategy[Part]:
    if kind not in _HOLDERS:
        return st.just(Part(kind, kind))
    inner = _parts(source, "part", 2, kind == "sequential", depth - 1)
    return inner.map(lambda parts: Part(kind, kind, parts))


# --- plans ------------------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn, held: Inventory, *, elements: bool = False) -> fl.Plan:
    """A random plan whose rules pick something, under which at least one kernel trains.

    Args:
        draw: Hypothesis's.
        held: The weights of the model that it is for.
        elements: Whether rules may also speak of elements of a weight, or train one by an adapter.
    """
    plan = fl.Plan(
        default=draw(st.sampled_from(("freeze", "freeze", "train"))),
        batchnorm=draw(st.sampled_from(("inference", "inference", "update"))),
        stochastic=draw(st.sampled_from(("inference", "inference", "active"))),
    )
    weights = {w.address for w in held.of_role("weight")}
    for _ in range(draw(st.integers(1, 4))):
        chosen = draw(selectors(held))
        picked = chosen.addresses(held)
        trains = draw(st.booleans()) and (not picked or not picked.isdisjoint(weights))
        optional = not picked or draw(st.booleans())
        if trains:
            lr = draw(st.sampled_from((1.0, 1.0, 0.5, 2.0, 0.3)))
            decay = draw(st.sampled_from((1.0, 1.0, 0.0, 3.0)))
            plan = plan.train(chosen, lr=lr, decay=decay, optional=optional)
        else:
            plan = plan.freeze(chosen, optional=optional)
    for _ in range(draw(st.integers(0, 3)) if elements else 0):
        plan = draw(_with_part(held, plan))
    kernels = sorted(a for a in weights if a.endswith("kernel"))
    if expected_trained(held, plan).isdisjoint(kernels):
        plan = plan.train(draw(st.sampled_from(kernels)))
    return plan


def expected_trained(held: Inventory, plan: fl.Plan) -> set[str]:
    """The weights that a plan trains, or elements of which it trains."""
    return {address for address, mask in expected_elements(held, plan).items() if mask.any()}


def expected_elements(held: Inventory, plan: fl.Plan) -> dict[str, np.ndarray]:
    """What trains of each weight, as a mask, said again in the plainest way: rules are read in order."""
    masks = {w.address: np.full(w.shape, plan.default == "train") for w in held.of_role("weight")}
    for rule in plan.rules:
        for address in rule.selector.addresses(held) & set(masks):
            masks[address][_index_of(rule, masks[address])] = rule.action == "train"
    return masks


def _index_of(rule: Any, mask: np.ndarray) -> Any:
    """The elements of a weight that a rule speaks of, as NumPy takes them."""
    match rule.elements:
        case fl.Rows(rows):
            return (rows,)
        case fl.Columns(columns):
            return (..., columns)
        case fl.Index(index):
            return index
        case fl.Mask(mask=chosen):
            return chosen
        case None:
            return ...
        case other:
            raise AssertionError(other)


# A rule about elements of a weight, over those that trained before, must keep their rates, and must not
# follow an adapter, which moves them all.


@st.composite
def _with_part(draw: st.DrawFn, held: Inventory, plan: fl.Plan) -> fl.Plan:
    """The plan with one more rule, about a part of one weight."""
    weight = draw(st.sampled_from(held.of_role("weight")))
    picking = [rule for rule in plan.rules if weight.address in rule.selector.addresses(held)]
    before = expected_elements(held, plan)[weight.address]
    adapted = bool(picking) and picking[-1].part is not None and picking[-1].elements is None
    if adapted or draw(st.integers(0, 5)) == 0:
        adapters = [fl.Scale()] + ([fl.LowRank(rank=1)] if len(weight.shape) == 2 else [])
        return plan.train(weight.address, via=draw(st.sampled_from(adapters)))
    part = draw(_parts_of(weight.shape))
    if draw(st.integers(0, 2)) == 0:
        return plan.freeze(weight.address, **part)
    training = [rule for rule in picking if rule.action == "train"]
    rates = (training[-1].lr, training[-1].decay) if training and before.any() else (1.0, 1.0)
    return plan.train(weight.address, lr=rates[0], decay=rates[1], **part)


def _parts_of(shape: tuple[int, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """What `Plan.train` and `Plan.freeze` take for some elements of a weight of this shape."""
    rows, columns = _places(shape[0]), _places(shape[-1])
    ways = [
        rows.map(lambda places: {"rows": places}),
        columns.map(lambda places: {"columns": places}),
        st.lists(st.booleans(), min_size=math.prod(shape), max_size=math.prod(shape))
        .filter(any)
        .map(lambda bits: {"mask": np.reshape(np.array(bits), shape)}),
    ]
    if len(shape) > 1:
        ways.append(st.tuples(*map(_slices, shape)).map(lambda index: {"index": index}))
    return st.one_of(ways)


def _places(size: int) -> st.SearchStrategy[Any]:
    """Places along an axis: one, several, or a slice, counted from either end."""
    one = st.integers(-size, size - 1)
    several = st.lists(st.integers(0, size - 1), min_size=1, max_size=size, unique=True)
    return st.one_of(one, several, _slices(size))


def _slices(size: int) -> st.SearchStrategy[slice]:
    """Slices that hold something."""
    return st.slices(size).filter(lambda one: len(range(size)[one]) and (one.step or 1) > 0)


@st.composite
def selectors(draw: st.DrawFn, held: Inventory, depth: int = 2) -> Selector:
    """A random selector over a model's addresses; rarely one that picks nothing."""
    kinds = ["glob", "glob", "regex", "type", "ends", "layer"]
    if depth > 0:
        kinds += ["all", "any", "not"]
    kind = draw(st.sampled_from(kinds))
    nested = selectors(held, depth - 1)
    match kind:
        case "all":
            return draw(nested) & draw(nested)
        case "any":
            return draw(nested) | draw(nested)
        case "not":
            return ~draw(nested)
        case _:
            return selector(draw(_texts(held, kind)))


def _texts(held: Inventory, kind: str) -> st.SearchStrategy[str]:
    tracked = held.of_role("weight", "statistic")
    addresses = [address for w in tracked for address in w.addresses]
    match kind:
        case "glob":
            return st.sampled_from(addresses).flatmap(_globs)
        case "regex":
            return st.sampled_from(addresses).flatmap(_regexes)
        case "type":
            return st.sampled_from(sorted(set().union(*(w.types for w in tracked)))).map("type:{}".format)
        case "ends":
            counts = st.integers(1, len(held.top)).map(str)
            return st.tuples(st.sampled_from(("first:", "last:")), counts).map("".join)
        case _:
            nodes = [a for n in held.layers if n.below for a in (n.address, *n.aliases) if a]
            return st.sampled_from(nodes).map("layer:{}".format)


def _globs(address: str) -> st.SearchStrategy[str]:
    *route, name = address.split("/")
    forms = [address, f"**/{name}", f"**/{name[0]}*", f"**/{{{name},bias}}", "**"]
    if route:
        forms += [f"{route[0]}/**", "/".join((*(["*"] * len(route)), name)), f"{route[0][:-1]}?/**"]
        forms += [f"**/{route[-1]}/{name}", f"{route[0][:2]}*/**/{name}"]
    if re.search(r"\d", address):
        forms.append(re.sub(r"\d", "[0-9]", address))
    return st.sampled_from(forms)


def _regexes(address: str) -> st.SearchStrategy[str]:
    *route, name = (re.escape(part) for part in address.split("/"))
    forms = ["/".join((*route, name)), rf"(.+/)?{name}", rf".*(?:{name}|bias)", ".+"]
    if route:
        forms += [rf"{route[0]}/.*", rf"(?!{route[0]}/).*"]
    return st.sampled_from(forms).map("re:{}".format)


# --- optimizers -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of Keras, as data.

    Attributes:
        name: Class name.
        settings: Arguments of its constructor.
        slots: How many slots of a weight's shape it keeps for each weight.
    """

    name: str
    settings: dict[str, Any] = field(hash=False)
    slots: int

    def make(self) -> Any:
        """Make the optimizer."""
        return getattr(keras.optimizers, self.name)(**self.settings)


_OPTIMIZERS = (
    Optimizer("SGD", {"learning_rate": 0.1, "momentum": 0.9}, 1),
    Optimizer("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, 1),
    Optimizer("Adam", {"learning_rate": 0.02}, 2),
    Optimizer("AdamW", {"learning_rate": 0.02, "weight_decay": 0.05}, 2),
    Optimizer("RMSprop", {"learning_rate": 0.02}, 1),
    Optimizer("Lion", {"learning_rate": 0.01, "weight_decay": 0.05}, 1),
    Optimizer("Nadam", {"learning_rate": 0.02}, 2),
)

_EXTRAS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"clipnorm": 0.5},
    {"global_clipnorm": 0.5},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.8, "global_clipnorm": 0.5},
)


def optimizers() -> st.SearchStrategy[Optimizer]:
    """A random optimizer, with momentum or decay, sometimes with clipping or averaging."""

    def joined(base: Optimizer, extra: dict[str, Any]) -> Optimizer:
        averages = 1 if extra.get("use_ema") else 0
        return Optimizer(base.name, {**base.settings, **extra}, base.slots + averages)

    return st.builds(joined, st.sampled_from(_OPTIMIZERS), st.sampled_from(_EXTRAS))


# --- looking ----------------------------------------------------------------------------------


def values(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies of all values of a model, by address."""
    return {w.address: w.numpy().copy() for w in inventory(model)}


def put_back(model: keras.Model, held: dict[str, np.ndarray]) -> None:
    """Put values that `values` returned back."""
    for weight in inventory(model):
        weight.variable.assign(held[weight.address])


def gradients(model: keras.Model, x: Any, y: Any, variables: list[Any]) -> list[np.ndarray]:
    """Gradients of the mean squared error in training mode, as the backend gives them; None is zero."""

    def loss() -> Any:
        error = keras.ops.subtract(model(x, training=True), keras.ops.convert_to_tensor(y))
        return keras.ops.mean(keras.ops.square(error))

    found: list[Any]
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                value = loss()
            found = tape.gradient(value, [v.value for v in variables])
        case "torch":
            import torch

            found = list(torch.autograd.grad(loss(), [v.value for v in variables], allow_unused=True))
        case "jax":
            import jax

            def loss_of(values: list[Any]) -> Any:
                with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                    return loss()

            found = jax.grad(loss_of)([v.value for v in variables])
        case other:
            raise AssertionError(other)
    return [
        np.zeros(tuple(v.shape), "float32") if g is None else keras.ops.convert_to_numpy(g)
        for v, g in zip(variables, found, strict=True)
    ]
