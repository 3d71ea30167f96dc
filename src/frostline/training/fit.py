"""`fit`: training under a plan, in place of `model.fit`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline._keras.calls import outputs_known
from frostline._keras.trainers import own_buffers, sync_values, values_kept
from frostline.errors import PlanError, UncompiledModelError, listed
from frostline.model.checks import require_keras_model
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.trainability.apply import functions_kept, keep_functions
from frostline.training import first_step
from frostline.training.job import Job, Progress, look_at
from frostline.training.ledger import no_gradient
from frostline.training.receipt_of_run import receipt_of, versions
from frostline.training.run import Run
from frostline.training.watch import layers_made_in_call

Preparation = Callable[[list[Any]], dict[str, Any]]


def fit(
    model: Any,
    plan: Plan | Resolution | Schedule,
    x: Any = None,
    y: Any = None,
    *,
    guard: bool = True,
    keep_state: bool = True,
    stop_on_nan: bool = True,
    preflight: bool = True,
    resume: str | os.PathLike[str] | None = None,
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
        stop_on_nan: Whether to stop in the epoch in which the loss becomes NaN or infinite, with an error
            that names the first such batch. Infinite losses are left to loss scaling where there is any, and
            all of it to `keras.callbacks.TerminateOnNaN` where that is among the callbacks.
        preflight: Whether to look, before the first step, if each weight that is to train can receive a
            gradient, and to stop with the explanation if not. Arrays, tensors and `PyDataset`s are looked at.
        resume: A folder for checkpoints, one at the start and one at the end of each epoch. Where it holds
            the checkpoints of this very run, killed at any moment, the run goes on with the epoch that it was
            in, and ends with the numbers of an undisturbed one: weights, slots, phase, seeds, order of data,
            history and receipt. Where it holds the finished run, its end is put on the model and returned.
            Give the same model, plan, data and arguments again; see "Resuming" below.
        **arguments: All else that `model.fit` takes; with a schedule, all but `epochs` and `initial_epoch`.
            Callbacks that have a method `on_phase_begin(phase)` are told when a phase of it begins.

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
        NoGradientError: A weight that should train can receive no gradient (with `preflight`), or none of
            them received one.
        NotFiniteError: The loss became NaN or infinite (with `stop_on_nan`).
        VerificationError: A frozen number changed (with `guard`).
        ResumeError: The folder holds another run, is in use by one, or cannot be written to.

    Resuming:
        Weights that train may have any values when a run goes on, they are restored; frozen ones must be as
        they were. A checkpoint that cannot be read is discarded with a warning, and the one before is used.
        Going on with arrays costs nothing. Every other source of data, and arrays with `steps_per_epoch`, are
        read again from the beginning, without training, up to the epoch that comes next, so that whatever
        state they have is right; make them anew in the same way. What callbacks remember is restored for
        `EarlyStopping`, `ReduceLROnPlateau`, `ModelCheckpoint`, for `CSVLogger`, which appends, and for those
        with methods `state_dict` and `load_state_dict`. A checkpoint costs the room and the time to write all
        weights that train in any phase and the optimizer's slots; the last two are kept.

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
    job = Job(model, plan, _resolutions(model, plan), x, y, arguments, guard, keep_state, stop_on_nan)
    _refuse_best_of_other_parts(job)
    checking = preflight and not functions_kept(model, job.resolutions[0])
    in_first_step = checking and resume is None and first_step.tells(job)
    if checking and not in_first_step:
        job = replace(job, reachable=look_at(job))
    if resume is not None:
        from frostline.training.resume.session import fit_resumably

        return fit_resumably(job, Path(resume))
    progress = job.begin()
    with first_step.checked(job, progress) if in_first_step else nullcontext():
        history = train(job, progress)
    return run_of(job, progress, history)


def train(
    job: Job, progress: Progress, prepare: Preparation | None = None, *, kept: str | None = None
) -> Any:
    """Call `model.fit` and close the books.

    Args:
        job: What to do.
        progress: How far it is; its plan is on the model.
        prepare: Gets the callbacks, the user's and ours, and returns arguments for `model.fit` that go before
            all others.
        kept: What to say of a checkpoint that is still good where the loss is no number any more.

    Returns:
        The `keras.callbacks.History`.
    """
    from frostline.training.guards import guarded
    from frostline.training.nan_guard import FiniteWatch, stops_already
    from frostline.training.restoring import BeforeRestoring, restores

    arguments, switch = dict(job.arguments), progress.switch
    callbacks = guarded(arguments.get("callbacks"))
    if job.stop_on_nan and not stops_already(callbacks):
        callbacks.insert(0, FiniteWatch(job.x, job.y, kept=kept))
    watched = switch is not None and job.guard and restores(callbacks)
    ending = BeforeRestoring(progress.ledger.now) if watched else None
    if ending is not None:
        callbacks.insert(0, ending)
    if switch is not None:
        switch.listeners = tuple(c for c in callbacks if hasattr(c, "on_phase_begin"))
        callbacks.append(switch)
        arguments["epochs"] = switch.most_epochs
    if prepare is not None:
        arguments |= prepare(callbacks)
    elif callbacks:
        arguments["callbacks"] = callbacks
    resolution = job.resolutions[switch.number if switch is not None else 0]
    history = _fit(job.model, resolution, job.x, job.y, arguments)
    if switch is not None:
        after = ending.after if ending is not None else None
        progress.ledger.close(
            switch.phase.name,
            switch.resolution,
            switch.epochs,
            stepped=switch.stepped,
            after=after,
        )
        if ending is not None:
            progress.ledger.close_restored()
        history.history["phase"] = switch.phase_of_epoch
    else:
        epochs = len(history.epoch)
        progress.ledger.close(job.model.name, resolution, epochs, stepped=bool(epochs))
    return history


def run_of(
    job: Job,
    progress: Progress,
    history: Any,
    told: Mapping[str, Any] | None = None,
    *,
    resumed: int | None = None,
) -> Run:
    """Return what a job did, after its end.

    Args:
        job: What was to be done.
        progress: With all phases closed.
        history: What `train` returned.
        told: `versions` and `seconds` for the receipt, in place of those of this process.
        resumed: As `Run` has it.
    """
    runs = tuple(progress.ledger.runs)
    names = [phase.name for phase in job.plan.phases] if isinstance(job.plan, Schedule) else []
    not_run = tuple(name for name in names if name not in {run.name for run in runs})
    if progress.ledger.before is None:
        return Run(history, runs[-1].resolution, None, None, runs, resumed, not_run)
    told = told or {"versions": versions(), "seconds": progress.seconds}
    receipt = receipt_of(progress.ledger, job.plan, data=job.data(), started=progress.started, **told)
    missing = dict.fromkeys(a for run in runs if run.verification for a in run.verification.no_gradient)
    verification = replace(receipt.verification, no_gradient=tuple(missing))
    return Run(history, runs[-1].resolution, verification, receipt, runs, resumed, not_run)


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
    with _explained(model, resolution), outputs_known(model):
        history = model.fit(x, y, **arguments)
    sync_values(model)
    own_buffers(model)
    keep_functions(model)
    return history


def _refuse_epochs(arguments: dict[str, Any]) -> None:
    for name in ("epochs", "initial_epoch"):
        if name in arguments:
            raise PlanError(
                f"a schedule says itself how long it lasts, so {name} has no place beside it",
                received=f"{name}={arguments[name]!r}",
                remedy="leave it out, or give the phases other epochs",
            )


def _refuse_best_of_other_parts(job: Job) -> None:
    """Refuse callbacks that put back weights of an earlier phase, in which other variables stood for them."""
    hows = [{d.weight.address: d.part for d in resolution.trained if d.how} for resolution in job.resolutions]
    changing = [a for one in hows for a in one if any(other.get(a) != one[a] for other in hows)]
    if not changing:
        return
    import keras

    given = job.arguments.get("callbacks")
    callbacks = keras.tree.flatten(getattr(given, "callbacks", given))
    if keeping := [c for c in callbacks if getattr(c, "restore_best_weights", False)]:
        raise PlanError(
            f"{type(keeping[0]).__name__} cannot put the best weights of one phase back in another, since "
            "the phases train other parts of a weight",
            received=f"restore_best_weights=True; phases that differ in {listed(dict.fromkeys(changing))}",
            remedy="let phases restore their own: Phase(..., until=Plateau(...), restore_best=True)",
        )


def _require_compiled(model: Any) -> None:
    require_keras_model(model, "trained", expected="a built and compiled keras.Model")
    if not model.compiled or model.optimizer is None:
        raise UncompiledModelError(
            f"the model {model.name!r} is not compiled",
            expected="a model with an optimizer and a loss",
            remedy='model.compile(optimizer="adam", loss="mse"), then fit again',
        )


@contextmanager
def _explained(model: Any, resolution: Resolution) -> Iterator[None]:
    """Say the same on every backend where training cannot work, and leave the model's values readable."""
    with values_kept(model), layers_made_in_call(model, resolution.inventory):
        try:
            yield
        except (ValueError, RuntimeError) as error:
            # What TensorFlow and PyTorch say where the loss depends on no trained weight.
            said = ("No gradients provided for any variable", "does not require grad")
            if not any(text in str(error) for text in said):
                raise
            raise no_gradient(model, [d.weight.address for d in resolution.trained]) from error
