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
from frostline.applying import apply, keep_functions
from frostline.errors import ModelError, PlanError, UncompiledModelError
from frostline.plan import Plan
from frostline.receipt import Receipt
from frostline.resolution import Resolution, resolve
from frostline.schedule import Schedule
from frostline.training.ledger import Ledger, PhaseRun, no_gradient
from frostline.training.watch import layers_made_in_call
from frostline.verification import Verification, digest_array, fingerprint_of


@dataclass(frozen=True, slots=True)
class Run:
    """What a call of `fit` did.

    Attributes:
        history: The `keras.callbacks.History` that `model.fit` returned. After a schedule,
            `history.history["phase"]` names the phase of each epoch.
        resolution: What the plan decided; of a schedule, the last phase's.
        verification: What the guard found; None with `guard=False`.
        receipt: The same in a form that others can check; None with `guard=False`.
        phases: The phases of a schedule, or the one plan, in order.
    """

    history: Any
    resolution: Resolution
    verification: Verification | None
    receipt: Receipt | None
    phases: tuple[PhaseRun, ...]


def fit(
    model: Any,
    plan: Plan | Resolution | Schedule,
    x: Any = None,
    y: Any = None,
    *,
    guard: bool = True,
    keep_state: bool = True,
    **arguments: Any,
) -> Run:
    """Train a compiled model under a plan, and prove that nothing else moved.

    May be called again and again with other plans, on the same model and optimizer, in any order: slots of
    the optimizer follow the weights by address. The plan stays on the model afterwards.

    Args:
        model: A built and compiled `keras.Model`.
        plan: A plan, its resolution for this model, or a schedule, whose phases then say for how long.
        x: As for `model.fit`.
        y: As for `model.fit`.
        guard: Whether to take fingerprints before and after and to fail where a frozen number changed.
        keep_state: Whether the optimizer's slots of weights that stop training are kept for when they train
            again.
        **arguments: All else that `model.fit` takes; with a schedule, all but `epochs` and `initial_epoch`.

    Returns:
        A `Run`.

    Raises:
        UncompiledModelError: The model has no optimizer and loss.
        UnbuiltModelError: Its weights do not exist yet.
        PlanError: The plan, or a phase, trains nothing, does not fit the model, or monitors a value that
            this training does not report.
        OptimizerError: The optimizer cannot be brought under a plan.
        LayerInCallError: The model makes layers while it is called.
        TrainingError: A callback changed trainable flags by hand.
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
    if isinstance(plan, Schedule):
        _refuse_epochs(arguments)
    resolutions = _resolutions(model, plan)
    apply(model, resolutions[0], keep_state=keep_state)
    ledger = Ledger(model, fingerprint_of(resolutions[0].inventory) if guard else None)
    started, clock = datetime.now(UTC), time.monotonic()
    if isinstance(plan, Schedule):
        history = _fit_phases(model, plan, resolutions, ledger, x, y, arguments, keep_state)
    else:
        history = _fit(model, resolutions[0], x, y, arguments | _guarded(arguments))
        ledger.close(model.name, resolutions[0], len(history.epoch), stepped=bool(history.epoch))
    if ledger.before is None:
        return Run(history, ledger.runs[-1].resolution, None, None, tuple(ledger.runs))
    receipt = _receipt(
        ledger,
        plan,
        data=_data_digests(x, y, arguments.get("sample_weight")),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
    )
    missing = tuple(
        dict.fromkeys(a for r in ledger.runs if r.verification for a in r.verification.no_gradient)
    )
    verification = replace(receipt.verification, no_gradient=missing)
    return Run(history, ledger.runs[-1].resolution, verification, receipt, tuple(ledger.runs))


def _resolutions(model: Any, plan: Plan | Resolution | Schedule) -> tuple[Resolution, ...]:
    """Resolve a plan, or every phase of a schedule before the first one begins."""
    if isinstance(plan, Schedule):
        resolutions = tuple(resolve(model, plan.plan_of(phase)) for phase in plan.phases)
    else:
        resolutions = (plan if isinstance(plan, Resolution) else resolve(model, plan),)
    for number, resolution in enumerate(resolutions):
        if not resolution.trained:
            what = f"the phase {plan.phases[number].name!r}" if isinstance(plan, Schedule) else "the plan"
            raise PlanError(
                f"{what} trains nothing in the model {model.name!r}",
                received=str(resolution.plan).replace("\n", "; "),
                remedy="add a rule that trains: .train('last:1') trains the last layer",
            )
    return resolutions


def _fit(model: Any, resolution: Resolution, x: Any, y: Any, arguments: dict[str, Any]) -> Any:
    with _explained(model, resolution):
        history = model.fit(x, y, **arguments)
    _keras.settle(model)
    _keras.unshare(model)
    keep_functions(model)
    return history


def _fit_phases(
    model: Any,
    schedule: Schedule,
    resolutions: tuple[Resolution, ...],
    ledger: Ledger,
    x: Any,
    y: Any,
    arguments: dict[str, Any],
    keep_state: bool,
) -> Any:
    from frostline.training.phases import most_epochs, phase_switch

    switch = phase_switch(schedule, resolutions, ledger, keep_state=keep_state)
    callbacks = [*_guarded(arguments).get("callbacks", ()), switch]
    arguments = {**arguments, "callbacks": callbacks, "epochs": most_epochs(schedule)}
    history = _fit(model, resolutions[0], x, y, arguments)
    ledger.close(switch.phase.name, switch.resolution, switch.epochs, stepped=switch.stepped)
    history.history["phase"] = switch.phase_of_epoch
    return history


def _refuse_epochs(arguments: dict[str, Any]) -> None:
    for name in ("epochs", "initial_epoch"):
        if name in arguments:
            raise PlanError(
                f"a schedule says itself how long it lasts, so {name} has no place beside it",
                received=f"{name}={arguments[name]!r}",
                remedy="leave it out, or give the phases other epochs",
            )


def _guarded(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the callbacks among the arguments of `fit` with a guard behind them; nothing without any."""
    from frostline.training.flags import guarded

    callbacks = guarded(arguments.get("callbacks"))
    return {"callbacks": callbacks} if callbacks else {}


def _receipt(ledger: Ledger, plan: Plan | Resolution | Schedule, **more: Any) -> Receipt:
    assert ledger.before is not None
    records = ledger.records
    return Receipt(
        model=ledger.model.name,
        plan=_plan_data(plan.plan if isinstance(plan, Resolution) else plan),
        trained=tuple(dict.fromkeys(a for record in records for a in record.trained)),
        moving=tuple(dict.fromkeys(a for record in records for a in record.moving)),
        before=ledger.before,
        after=records[-1].after,
        versions=versions(),
        phases=tuple(records) if isinstance(plan, Schedule) else (),
        **more,
    )


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
        except (ValueError, RuntimeError) as error:
            # What TensorFlow and PyTorch say where the loss depends on no trained weight.
            said = ("No gradients provided for any variable", "does not require grad")
            if not any(text in str(error) for text in said):
                raise
            raise no_gradient(model, [d.weight.address for d in resolution.trained]) from error


def _plan_data(plan: Plan | Schedule) -> Any:
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
