"""Trains every program and its twin with plain Keras, and checks what their headers claim.

    KERAS_BACKEND=torch python -m benchmarks.faults.truth [NAME ...]

For each program the faulty one must show one of the symptoms of its header, and the twin none of them and
no error. The one use of Frostline is `fl.apply` where a program has a plan.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from benchmarks.faults import programs
from benchmarks.faults.programs import Fault, matches, symptoms
from benchmarks.faults.running import BACKEND, SEED, Made, Trained, as_numpy, batch, make, train
from keras import ops

TINY = 1e-6
"""The share of itself by which a weight moves in a step, below which it stands still for all purposes."""
FLOOR = 0.25
"""A cross-entropy or squared error of perfect outputs; below it outputs can be right."""

Check = Callable[[Made, Trained, list[str]], bool]


def named(values: dict[str, Any], patterns: list[str]) -> dict[str, Any]:
    """The weights that a header names; all of them where it names none."""
    if not patterns:
        return dict(values)
    found = {a: v for a, v in values.items() if any(matches(p, a) for p in patterns)}
    for pattern in patterns:
        if not any(matches(pattern, a) for a in values):
            raise LookupError(f"no weight is called {pattern}; there are {sorted(values)}")
    return found


def _nan(made: Made, run: Trained, patterns: list[str]) -> bool:
    return all(not np.isfinite(v).all() for v in named(run.after, patterns).values()) and not run.raised


def _any_nan(run: Trained) -> bool:
    return any(not np.isfinite(v.astype("float64")).all() for v in run.after.values())


def _loss_not_finite(made: Made, run: Trained, patterns: list[str]) -> bool:
    return not run.raised and not np.isfinite(run.losses).all()


def _still(made: Made, run: Trained, patterns: list[str]) -> bool:
    after = named(run.after, patterns)
    return not run.raised and all(run.before[a].tobytes() == v.tobytes() for a, v in after.items())


def _still_columns(made: Made, run: Trained, patterns: list[str]) -> bool:
    [(address, after)] = named(run.after, patterns).items()
    return int((run.before[address] != after).any(axis=0).sum()) <= 1


def _share(run: Trained, address: str) -> float:
    before, after = run.before[address].astype("float64"), run.after[address].astype("float64")
    return float(np.linalg.norm(after - before) / (np.linalg.norm(before) + 1e-30) / run.steps)


def _tiny(made: Made, run: Trained, patterns: list[str]) -> bool:
    return not run.raised and all(_share(run, a) < TINY for a in named(run.after, patterns))


def _blind(made: Made, run: Trained, patterns: list[str]) -> bool:
    other = make(made.fault, twin=_is_twin(made))
    rolled = train(other, y=_rolled(other.y))
    a, b = named(run.after, patterns), named(rolled.after, patterns)
    moved = any(_share(run, k) > 0 for k in a)
    return moved and all(np.linalg.norm(a[k] - b[k]) <= 10 * TINY * np.linalg.norm(run.before[k]) for k in a)


def _rolled(y: Any) -> Any:
    return {k: _rolled(v) for k, v in y.items()} if isinstance(y, dict) else np.roll(np.asarray(y), 1, axis=0)


def _is_twin(made: Made) -> bool:
    return made.module.__name__.endswith("twin")


def _equal(made: Made, run: Trained, patterns: list[str]) -> bool:
    for after in named(run.after, patterns).values():
        flat = after.reshape(-1, after.shape[-1]).astype("float64")
        if np.abs(flat - flat[:, :1]).max() > 1e-5 * np.abs(flat).max():
            return False
    return not run.raised


def _moves(made: Made, run: Trained, patterns: list[str]) -> bool:
    return all(run.before[a].tobytes() != v.tobytes() for a, v in named(run.after, patterns).items())


def _raises(made: Made, run: Trained, patterns: list[str]) -> bool:
    return bool(run.raised)


def _explodes(made: Made, run: Trained, patterns: list[str]) -> bool:
    return not run.raised and not run.losses[-1] <= 10 * run.losses[0]


def _loss_above_50(made: Made, run: Trained, patterns: list[str]) -> bool:
    return not run.raised and not run.losses[0] <= 50


def _unbounded(made: Made, run: Trained, patterns: list[str]) -> bool:
    return not run.raised and min(run.losses) < 0


def relative_error(made: Made) -> float:
    """The error of a model by that of the best constant: wrong classes, or squares."""
    y = np.asarray(made.y)
    got = as_numpy(made.model.predict(made.x, batch_size=batch(made.x), verbose=0)).astype("float64")
    if got.shape[-1] > 1 and (y.ndim == 1 or np.allclose(y.sum(axis=-1), 1)):
        labels = y if y.ndim == 1 else y.argmax(axis=-1)
        _, counts = np.unique(labels, return_counts=True)
        return float((got.argmax(axis=-1) != labels).mean() / (1 - counts.max() / len(labels)))
    return float(np.mean((got.reshape(y.shape) - y) ** 2) / np.var(y))


def _unlearned(made: Made, run: Trained, patterns: list[str]) -> bool:
    if run.raised:
        return False
    error = relative_error(made)
    return not error < (0.3 if _is_twin(made) else 0.6)


def _outside(made: Made, run: Trained, patterns: list[str]) -> bool:
    fresh = make(made.fault, twin=_is_twin(made))
    got = as_numpy(fresh.model.predict(fresh.x, batch_size=batch(fresh.x), verbose=0))
    return bool((got < 0).any() or (got > 1).any())


def _last_activation(model: Any) -> str:
    return getattr(getattr(model.layers[-1], "activation", None), "__name__", "linear")


REACH = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf), "softmax": (0, 1)}


def _out_of_reach(made: Made, run: Trained, patterns: list[str]) -> bool:
    low, high = REACH.get(_last_activation(made.model), (-np.inf, np.inf))
    return bool((np.asarray(made.y) < low).any() or (np.asarray(made.y) > high).any())


def _not_a_distribution(made: Made, run: Trained, patterns: list[str]) -> bool:
    sums = np.asarray(made.y).sum(axis=-1)
    return _last_activation(made.model) == "softmax" and not np.allclose(sums, 1)


def _floor(made: Made, run: Trained, patterns: list[str]) -> bool:
    """Put perfect scores in front of the last activations, and look at the loss of what comes out."""
    model, y = made.model, np.asarray(made.y)
    last = max(n for n, layer in enumerate(model.layers) if layer.weights)
    units = model.layers[last].units
    hot = np.eye(units)[y] if y.ndim == 1 and units > 1 else y.reshape(len(y), units)
    out = model.layers[last].activation(ops.convert_to_tensor(60 * hot.astype("float32") - 30))
    for layer in model.layers[last + 1 :]:
        out = layer(out)
    return float(np.mean(as_numpy(keras.losses.get(model.loss)(made.y, out)))) > FLOOR


def _batch_dependence(made: Made, run: Trained, patterns: list[str]) -> bool:
    fresh = make(made.fault, twin=_is_twin(made))
    loss = keras.losses.get(fresh.model.loss)

    def of(rows: slice) -> float:
        got = fresh.model(fresh.x[rows], training=False)
        return float(np.mean(as_numpy(loss(ops.convert_to_tensor(fresh.y[rows]), got))))

    whole, each = of(slice(None)), np.mean([of(slice(n, n + 1)) for n in range(batch(fresh.x))])
    return bool(abs(whole - each) > 1e-3 * abs(each))


def _loss_of(made: Made) -> float:
    loss = keras.losses.get(made.model.loss)
    got = made.model(made.x, training=True)
    return float(np.mean(as_numpy(loss(ops.convert_to_tensor(made.y), got))))


def _no_effect(made: Made, run: Trained, patterns: list[str]) -> bool:
    fresh = make(made.fault, twin=_is_twin(made))
    change = [v for v in fresh.model.weights if any(matches(p, v.path) for p in patterns)]
    if not change:
        return False
    before = _loss_of(fresh)
    for variable in change:
        variable.assign(as_numpy(variable) + np.float32(0.5))
    return abs(_loss_of(fresh) - before) < 1e-4 * abs(before)


def _not_saved(made: Made, run: Trained, patterns: list[str]) -> bool:
    one, two = (make(made.fault, twin=_is_twin(made), seed=SEED + n) for n in (0, 1))
    two.model.set_weights(one.model.get_weights())
    a, b = (as_numpy(m.model(m.x, training=False)) for m in (one, two))
    return not np.allclose(a, b, atol=1e-5)


def _hidden_variable(made: Made, run: Trained, patterns: list[str]) -> bool:
    before = _loss_of(made)
    for variable in made.module.HIDDEN:
        variable.assign(as_numpy(variable) + np.float32(1))
    return abs(_loss_of(made) - before) > 1e-4 * abs(before)


def _hidden_layer(made: Made, run: Trained, patterns: list[str]) -> bool:
    return len(made.model.weights) < len(make(made.fault, twin=True).model.weights)


def _random(made: Made, run: Trained, patterns: list[str]) -> bool:
    a, b = (as_numpy(made.model(made.x, training=True)) for _ in range(2))
    return not np.array_equal(a, b)


CHECKS: dict[str, Check] = {
    "nan": _nan,
    "loss not finite": _loss_not_finite,
    "still": _still,
    "still columns": _still_columns,
    "blind": _blind,
    "tiny": _tiny,
    "equal": _equal,
    "moves": _moves,
    "raises": _raises,
    "explodes": _explodes,
    "loss above 50": _loss_above_50,
    "unlearned": _unlearned,
    "unbounded": _unbounded,
    "outputs outside 0..1": _outside,
    "targets do not sum to 1": _not_a_distribution,
    "targets out of reach": _out_of_reach,
    "loss has a floor": _floor,
    "batch dependence": _batch_dependence,
    "no effect": _no_effect,
    "not saved": _not_saved,
    "hidden variable": _hidden_variable,
    "hidden layer": _hidden_layer,
    "random": _random,
}
PER_WEIGHT = {"still", "tiny", "moves"}
"""Symptoms of which a twin must be free weight by weight."""


def wrong(fault: Fault) -> list[str]:
    """What a program's header claims and training does not show; nothing where the header is right."""
    found = []
    faulty = make(fault)
    run = train(faulty)
    claimed = symptoms(fault)
    if not any(CHECKS[name](faulty, run, patterns) for name, patterns in claimed.items()):
        found.append(f"shows none of {sorted(claimed)}: {_told(run, claimed)}")
    twin = make(fault, twin=True)
    run = train(twin)
    if run.raised:
        return [*found, f"the twin raises {run.raised}"]
    if _any_nan(run) or not np.isfinite(run.losses).all():
        found.append("the twin is not finite")
    for name, patterns in claimed.items():
        there = [p for p in patterns if any(matches(p, a) for a in run.after)] if patterns else [None]
        for one in there if name in PER_WEIGHT else [there] if there else []:
            if CHECKS[name](twin, run, [one] if name in PER_WEIGHT and one else patterns if there else []):
                found.append(f"the twin shows {name} {one or ''}: {_told(run, claimed)}")
    return found


def _told(run: Trained, claimed: dict[str, list[str]]) -> str:
    if run.raised:
        return run.raised
    patterns = next(iter(claimed.values()))
    shares = {
        a: f"{_share(run, a):.1e}" for a in run.after if not patterns or any(matches(p, a) for p in patterns)
    }
    return f"moves by {dict(list(shares.items())[:4])}, losses {run.losses[:1] + run.losses[-1:]}"


def main(names: list[str]) -> int:
    """Check all programs of this backend, or those named; print what is wrong."""
    logging.disable(logging.WARNING)
    bad, began = 0, time.time()
    wanted = {n for n in names if n != "-v"}
    chosen = [f for f in programs.every(BACKEND) if not wanted or f.name in wanted]
    for fault in chosen:
        started = time.time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                complaints = wrong(fault)
        except Exception as error:  # a program that cannot be run is a complaint, and the next is looked at
            complaints = [f"{type(error).__name__}: {str(error)[:300]}"]
        bad += bool(complaints)
        if "-v" in sys.argv:
            print(f"{fault.name}: {time.time() - started:.1f} s")
        for complaint in complaints:
            print(f"{fault.name}: {complaint}")
    print(f"{BACKEND}: {len(chosen) - bad} of {len(chosen)} headers hold, {time.time() - began:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
