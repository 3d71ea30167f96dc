"""One change, drawn at random, to all that a training is made of; and changes that change nothing.

A `Spec` says what a run is made of, as plain values. `mutated` draws one place of it and another value for
it, and says how messages are expected to name that; `MEANINGLESS` are other forms of the same.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers

import frostline as fl

CODE = '''
"""Code of a user's."""
import keras

POWER = 2.0
TABLE = {"low": 0.25, "high": 4.0}


def scaled(x):
    return x * TABLE["low"]


def make(weight):
    def loss(y, p, floor=0.125):
        gap = keras.ops.abs(y - p)
        gap = keras.ops.where(gap > floor, gap, floor)
        return keras.ops.mean(scaled(gap) ** POWER) * weight

    return loss


class Shift(keras.layers.Layer):
    def call(self, x):
        return x + 0.5
'''

EDITS: dict[str, tuple[str, str]] = {
    "a constant of the module": ("POWER = 2.0", "POWER = 3.0"),
    "an entry of a table": ('"low": 0.25', '"low": 0.5'),
    "an operator": ("x * TABLE", "x / TABLE"),
    "a key": ('TABLE["low"]', 'TABLE["high"]'),
    "a default": ("floor=0.125", "floor=0.25"),
    "a comparison": ("gap > floor", "gap >= floor"),
    "a function": ("keras.ops.abs(y - p)", "keras.ops.square(y - p)"),
    "the order of operands": ("y - p", "p - y"),
    "a statement more": ("        gap = keras.ops.abs", "        y = y + 0.0\n        gap = keras.ops.abs"),
    "a body of a layer": ("x + 0.5", "x + 0.25"),
}
"""Edits that change what the code does, or may."""

REWRITINGS: dict[str, tuple[str, str]] = {
    "a comment": ("POWER = 2.0", "# How steep.\nPOWER = 2.0  # at most 4"),
    "a docstring": ("def scaled(x):\n", 'def scaled(x):\n    """Scale it."""\n'),
    "blank lines": ("\n\n\n", "\n\n\n\n\n"),
    "brackets": ("x + 0.5", "(x + 0.5)"),
    "something unused": ("POWER = 2.0", "UNUSED = 7\nPOWER = 2.0"),
}
"""Edits that change nothing."""


@dataclass(frozen=True)
class Spec:
    """What a run is made of."""

    names: tuple[str, ...] = ("first", "second", "third", "head")
    layer: dict[str, Any] = field(
        default_factory=lambda: {"activation": "tanh", "use_bias": True, "kernel_regularizer": 0.01}
    )
    norm: dict[str, float] = field(default_factory=lambda: {"momentum": 0.9, "epsilon": 0.001})
    drop: float = 0.25
    units: int = 3
    dtype: str = "float32"
    optimizer: tuple[str, tuple[tuple[str, Any], ...]] = ("Adam", (("beta_1", 0.8), ("learning_rate", 0.01)))
    code: str = CODE
    weight: float = 1.5
    metrics: tuple[str, ...] = ("mae",)
    plan: tuple[tuple[str, str, float], ...] = (("train", "head/**", 0.5), ("freeze", "head/bias", 1.0))
    default: str = "freeze"
    batchnorm: str = "inference"
    fit: tuple[tuple[str, Any], ...] = (("batch_size", 4), ("shuffle", False))
    values: tuple[tuple[str, int, str], ...] = ()
    data: tuple[tuple[str, int], ...] = ()
    rows: tuple[int, ...] = tuple(range(8))

    def plan_of(self) -> fl.Plan:
        plan = fl.Plan(default=self.default, batchnorm=self.batchnorm)  # type: ignore[arg-type]
        for action, of, lr in self.plan:
            plan = plan.train(of, lr=lr) if action == "train" else plan.freeze(of)
        return plan

    def model(self, folder: Path) -> keras.Model:
        """Make the compiled model, with the same initial values each time."""
        keras.utils.set_random_seed(4)
        users = users_module(folder, self.code)
        settings = dict(self.layer)
        if (penalty := settings.pop("kernel_regularizer")) is not None:
            settings["kernel_regularizer"] = keras.regularizers.L2(penalty)
        first, second, third, head = self.names
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(self.units, name=first, dtype=self.dtype, **settings),
                layers.Dense(self.units, name=second),
                layers.Dense(self.units, name=third),
                layers.BatchNormalization(name="norm", **self.norm),
                users.Shift(name="shift"),
                layers.Dropout(self.drop, name="drop", seed=3),
                layers.Dense(2, name=head),
            ],
            name="net",
        )
        kind, arguments = self.optimizer
        optimizer = getattr(keras.optimizers, kind)(**dict(arguments))
        model.compile(optimizer, users.make(self.weight), metrics=list(self.metrics))
        for address, place, how in self.values:
            alter(fl.inventory(model).by_address[address].variable, place, how)
        return model

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(0)
        found = {
            "x": random.normal(size=(8, 3)).astype("float32"),
            "y": random.normal(size=(8, 2)).astype("float32"),
        }
        for name, place in self.data:
            found[name].reshape(-1)[place] = np.nextafter(found[name].reshape(-1)[place], np.float32(9))
        return found["x"][list(self.rows)], found["y"][list(self.rows)]


def users_module(folder: Path, code: str) -> Any:
    """Import code of a user's from a file, anew."""
    path = folder / "users_code.py"
    path.write_text(code)
    sys.modules.pop("users_code", None)
    import linecache

    linecache.clearcache()
    spec = spec_from_file_location("users_code", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["users_code"] = module
    # Not from a cache of bytecode, which knows a file by its second and its size.
    exec(compile(code, str(path), "exec"), module.__dict__)
    return module


def alter(variable: Any, place: int, how: str) -> None:
    """Change one number of a variable by its last bit, its sign where it is zero, or to NaN."""
    value = np.array(keras.ops.convert_to_numpy(variable))
    flat = value.reshape(-1)
    place %= flat.size
    if how == "sign of zero":
        flat[place] = np.float32(-0.0) if not np.signbit(flat[place]) and flat[place] == 0 else -flat[place]
    else:
        flat[place] = {"last bit": np.nextafter(flat[place], np.float32(9)), "nan": np.nan}[how]
    variable.assign(value)


FROZEN = (
    *(f"{layer}/{weight}" for layer in ("first", "second", "third") for weight in ("kernel", "bias")),
    *(f"norm/{weight}" for weight in ("gamma", "beta", "moving_mean", "moving_variance")),
    "head/bias",
)

Mutation = tuple[str, Spec, str]
"""What was changed, in words; the changed run; what a message must hold (a regular expression)."""


def _other(old: float) -> st.SearchStrategy[float]:
    return st.sampled_from([1.25, 1.5, 0.5, 0.75, 1 + 1e-6]).map(lambda factor: float(old * factor))


@st.composite
def values(draw: st.DrawFn, spec: Spec) -> Mutation:
    """Another value of one number that stays frozen."""
    address = draw(st.sampled_from(FROZEN))
    change = (address, draw(st.integers(0, 8)), draw(st.sampled_from(["last bit", "sign of zero", "nan"])))
    return f"values {change}", replace(spec, values=(change,)), address


@st.composite
def structures(draw: st.DrawFn, spec: Spec) -> Mutation:
    """Another name, size or dtype."""
    kind = draw(st.sampled_from(["name", "swap", "units", "dtype", "bias"]))
    names = list(spec.names)
    if kind == "name":
        place, new = draw(st.integers(0, 2)), draw(st.sampled_from(["other", "first_1", "second_1", "dense"]))
        old, names[place] = names[place], new
        return f"{old} renamed {new}", replace(spec, names=tuple(names)), f"{old}|{new}"
    if kind == "swap":
        names[0], names[1] = names[1], names[0]
        return "two names swapped", replace(spec, names=tuple(names)), "first|second"
    if kind == "units":
        return (
            "units",
            replace(spec, units=draw(st.sampled_from([2, 4]))),
            "first/|second/|third/|head/|units",
        )
    if kind == "dtype":
        dtype = draw(st.sampled_from(["float16", "bfloat16"]))
        return f"dtype {dtype}", replace(spec, dtype=dtype), "first"
    return "no bias", replace(spec, layer={**spec.layer, "use_bias": False}), "first/bias|use_bias"


@st.composite
def settings(draw: st.DrawFn, spec: Spec) -> Mutation:
    """Another setting of the model, the optimizer, the metrics."""
    kind = draw(st.sampled_from(["layer", "norm", "drop", "optimizer", "metrics", "policy"]))
    if kind == "layer":
        name = draw(st.sampled_from(["activation", "kernel_regularizer"]))
        value = draw(
            st.sampled_from(["relu", "gelu", None]) if name == "activation" else st.sampled_from([0.02, None])
        )
        return f"{name} {value}", replace(spec, layer={**spec.layer, name: value}), name
    if kind == "norm":
        name = draw(st.sampled_from(sorted(spec.norm)))
        value = draw(_other(spec.norm[name]))
        return f"{name} {value}", replace(spec, norm={**spec.norm, name: value}), name
    if kind == "drop":
        value = draw(st.sampled_from([0.0, 0.3, 0.9]))
        return f"rate {value}", replace(spec, drop=value), "rate"
    if kind == "policy":
        return "mixed precision", replace(spec, dtype="mixed_float16"), "dtype|float16"
    if kind == "optimizer":
        name, arguments = spec.optimizer
        if draw(st.booleans()):
            other = draw(st.sampled_from(["Nadam", "AdamW", "Lamb"]))
            return (
                f"optimizer {other}",
                replace(spec, optimizer=(other, arguments)),
                f"{name}|{other}|optimizer",
            )
        more = draw(
            st.sampled_from(
                [
                    ("beta_2", 0.99),
                    ("beta_1", 0.9),
                    ("clipnorm", 1.0),
                    ("weight_decay", 0.1),
                    ("epsilon", 1e-5),
                ]
            )
        )
        changed = tuple(sorted({**dict(arguments), more[0]: more[1]}.items()))
        return f"optimizer {more}", replace(spec, optimizer=(name, changed)), more[0]
    metrics = draw(st.sampled_from([(), ("mse",), ("mae", "mse")]))
    return f"metrics {metrics}", replace(spec, metrics=metrics), "metric"


@st.composite
def code(draw: st.DrawFn, spec: Spec) -> Mutation:
    """Another body, default, closure or global of a function or class of the user's."""
    if draw(st.integers(0, 9)) == 0:
        return "a closure", replace(spec, weight=2.5), "loss|weight"
    name = draw(st.sampled_from(sorted(EDITS)))
    old, new = EDITS[name]
    assert old in spec.code
    return name, replace(spec, code=spec.code.replace(old, new)), "loss|scaled|POWER|TABLE|shift|floor"


@st.composite
def plans(draw: st.DrawFn, spec: Spec) -> Mutation:
    """Another rule, rate, order, default or policy of the plan."""
    first, second = spec.plan
    changed: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"plan": (second, first)},
                {"plan": (first,)},
                {"plan": (("train", "head/**", 0.25), second)},
                {"plan": (first, ("freeze", "head/kernel", 1.0), ("train", "head/bias", 1.0))},
                {"plan": (("train", "{head,third}/**", 0.5), second)},
                {"default": "train"},
                {"batchnorm": "update"},
            ]
        )
    )
    return (
        f"plan {changed}",
        replace(spec, **changed),
        "plan|rule|default|batchnorm|head|trained|frozen|moving",
    )


@st.composite
def data(draw: st.DrawFn, spec: Spec) -> Mutation:
    """Another number, order or size of the data, or another argument of `fit`."""
    kind = draw(st.sampled_from(["x", "y", "rows", "fit"]))
    if kind in ("x", "y"):
        place = draw(st.integers(0, 15))
        return f"one number of {kind}", replace(spec, data=((kind, place),)), rf"\b{kind}\b|data"
    if kind == "rows":
        rows = draw(st.sampled_from([(1, 0, *range(2, 8)), tuple(range(7)), (*range(8), 0)]))
        return "rows", replace(spec, rows=rows), r"\bx\b|\by\b|data"
    more = draw(st.sampled_from([("batch_size", 2), ("shuffle", True), ("class_weight", {0: 1.0, 1: 2.0})]))
    changed = tuple({**dict(spec.fit), more[0]: more[1]}.items())
    return f"fit {more}", replace(spec, fit=changed), more[0]


def of_runs(spec: Spec) -> st.SearchStrategy[Mutation]:
    """Any change to a run."""
    return st.one_of(*(one(spec) for one in (values, structures, settings, code, plans, data)))


def of_models(spec: Spec) -> st.SearchStrategy[Mutation]:
    """Any change to the values and the structure of a model."""
    return st.one_of(values(spec), structures(spec))


def _renamed_file(spec: Spec, folder: Path) -> tuple[Spec, Path]:
    other = folder / "elsewhere"
    other.mkdir(exist_ok=True)
    return spec, other


def _rewritten(name: str) -> Callable[[Spec, Path], tuple[Spec, Path]]:
    old, new = REWRITINGS[name]
    return lambda spec, folder: (replace(spec, code=spec.code.replace(old, new)), folder)


MEANINGLESS: dict[str, Callable[[Spec, Path], tuple[Spec, Path]]] = {
    "as it was": lambda spec, folder: (copy.deepcopy(spec), folder),
    "another folder": _renamed_file,
    "keys in another order": lambda spec, folder: (
        replace(
            spec,
            layer=dict(reversed(spec.layer.items())),
            norm=dict(reversed(spec.norm.items())),
            optimizer=(spec.optimizer[0], tuple(reversed(spec.optimizer[1]))),
            fit=tuple(reversed(spec.fit)),
        ),
        folder,
    ),
    "a default that is written out": lambda spec, folder: (
        replace(spec, fit=(*spec.fit, ("class_weight", None))),
        folder,
    ),
    **{name: _rewritten(name) for name in REWRITINGS},
}
"""Other forms of the same run."""
