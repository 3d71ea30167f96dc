"""`fit`: training under a plan, in place of `model.fit`."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np

from frostline import _keras
from frostline._version import __version__
from frostline.applying import apply
from frostline.errors import ModelError, NoGradientError, PlanError, UncompiledModelError, listed
from frostline.plan import Plan
from frostline.receipt import Receipt
from frostline.resolution import Resolution, resolve
from frostline.training.evidence import without_gradient
from frostline.training.watch import layers_made_in_call
from frostline.verification import Verification, compare, digest_array, fingerprint


@dataclass(frozen=True, slots=True)
class Run:
    """What a call of `fit` did.

    Attributes:
        history: The `keras.callbacks.History` that `model.fit` returned.
        resolution: What the plan decided.
        verification: What the guard found; None with `guard=False`.
        receipt: The same in a form that others can check; None with `guard=False`.
    """

    history: Any
    resolution: Resolution
    verification: Verification | None
    receipt: Receipt | None


def fit(
    model: Any,
    plan: Plan | Resolution,
    x: Any = None,
    y: Any = None,
    *,
    guard: bool = True,
    **arguments: Any,
) -> Run:
    """Train a compiled model under a plan, and prove that nothing else moved.

    May be called again and again with other plans, on the same model and optimizer, in any order: slots of
    the optimizer follow the weights by address. The plan stays on the model afterwards.

    Args:
        model: A built and compiled `keras.Model`.
        plan: A plan, or its resolution for this model.
        x: As for `model.fit`.
        y: As for `model.fit`.
        guard: Whether to take fingerprints before and after and to fail where a frozen number changed.
        **arguments: All else that `model.fit` takes.

    Returns:
        A `Run`.

    Raises:
        UncompiledModelError: The model has no optimizer and loss.
        UnbuiltModelError: Its weights do not exist yet.
        PlanError: The plan trains nothing, or does not fit the model.
        LayerInCallError: The model makes layers while it is called.
        NoGradientError: No weight that should train received a gradient.
        VerificationError: A frozen number changed (with `guard`).

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> model.compile("adam", "mse")
        >>> run = fit(model, Plan().train("head/kernel"), np.ones((8, 3)), np.zeros((8, 2)), verbose=0)
        >>> run.verification.of("trained"), run.verification.of("intact")
        (('head/kernel',), ('head/bias',))
    """
    _require_compiled(model)
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)
    if not resolution.trained:
        raise PlanError(
            f"the plan trains nothing in the model {model.name!r}",
            received=str(resolution.plan).replace("\n", "; "),
            remedy="add a rule that trains: .train('last:1') trains the last layer",
        )
    apply(model, resolution)
    before = fingerprint(model) if guard else None
    started, clock = datetime.now(UTC), time.monotonic()
    with _explained(model, resolution):
        history = model.fit(x, y, **arguments)
    _keras.settle(model)
    _keras.unshare(model)
    if before is None:
        return Run(history, resolution, None, None)
    after = fingerprint(model)
    trained = tuple(d.weight.address for d in resolution.trained)
    moving = tuple(d.weight.address for d in resolution.statistics if d.trains)
    verification = compare(before, after, trained, moving)
    verification.require_ok()
    if history.epoch:
        verification = _with_gradients(model, resolution, verification)
    receipt = Receipt(
        model=model.name,
        plan=_plan_data(resolution.plan),
        trained=trained,
        moving=moving,
        before=before,
        after=after,
        data=_data_digests(x, y, arguments.get("sample_weight")),
        versions=versions(),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
    )
    return Run(history, resolution, verification, receipt)


def _with_gradients(model: Any, resolution: Resolution, verification: Verification) -> Verification:
    """Add which weights got no gradient; where none did, raise."""
    missing = without_gradient(model.optimizer, resolution, verification)
    if len(missing) == len(resolution.trained):
        raise _no_gradient(model, list(missing))
    return replace(verification, no_gradient=missing)


def _require_compiled(model: Any) -> None:
    import keras

    if not isinstance(model, keras.Model):
        raise ModelError(
            "only a keras.Model can be trained",
            received=f"an object of type {type(model).__name__}",
            expected="a built and compiled keras.Model",
        )
    if not model.compiled or model.optimizer is None:
        raise UncompiledModelError(
            f"the model {model.name!r} is not compiled",
            expected="a model with an optimizer and a loss",
            remedy='model.compile(optimizer="adam", loss="mse"), then fit again',
        )


@contextmanager
def _explained(model: Any, resolution: Resolution) -> Iterator[None]:
    """Say the same on every backend where training cannot work, and leave the model's values readable."""
    with _keras.values_kept(model), layers_made_in_call(model, resolution.inventory):
        try:
            yield
        except ValueError as error:
            if "No gradients provided for any variable" not in str(error):
                raise
            raise _no_gradient(model, [d.weight.address for d in resolution.trained]) from error


def _no_gradient(model: Any, missing: list[str]) -> NoGradientError:
    return NoGradientError(
        f"nothing that the plan trains in the model {model.name!r} received a gradient",
        received=f"no gradient, or zero at every step, for {listed(missing)}",
        expected="a loss that depends on these weights by operations that have a derivative",
        remedy="look for round, argmax, a cast to integers, stop_gradient or a learning rate of 0 on the way",
    )


def _plan_data(plan: Plan) -> Any:
    try:
        return plan.to_data()
    except PlanError:
        return str(plan)


def _data_digests(*parts: Any) -> dict[str, str]:
    """Digest what was trained on; data that cannot be read twice gets a reason instead."""
    import keras

    digests = {}
    for name, part in zip(("x", "y", "sample_weight"), parts, strict=True):
        for path, value in keras.tree.flatten_with_path(part):
            key = "/".join((name, *map(str, path)))
            if isinstance(value, np.ndarray) and value.dtype != object:
                digests[key] = f"blake3:{digest_array(value)}"
            elif keras.ops.is_tensor(value):
                digests[key] = f"blake3:{digest_array(keras.ops.convert_to_numpy(value))}"
            elif value is not None:
                digests[key] = f"not digested: {type(value).__name__} may give other data the next time"
    return digests


def versions() -> dict[str, str]:
    """Return the versions of all that decides the numbers of a run."""
    import keras

    backend = keras.backend.backend()
    found = {"frostline": __version__, "keras": keras.__version__, "numpy": np.__version__}
    for name in (backend, f"{backend}-cpu"):
        try:
            found[backend] = metadata.version(name)
            break
        except metadata.PackageNotFoundError:
            continue
    return {**found, "backend": backend, "python": platform.python_version()}
