"""`fit`: training under a plan, in place of `model.fit`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import keras

from frostline.backends.machines import require_one_machine
from frostline.diagnostics.label_ranges import labels_of_batches, require_labels_in_range, require_shapes
from frostline.errors import PlanError, ResumeError, UncompiledModelError, listed, near
from frostline.model.checks import require_keras_model
from frostline.model.inventory import require_holdable
from frostline.model.task_data import is_task
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.trainability.plan_on_model import functions_kept
from frostline.training import first_step
from frostline.training.job import GRADIENTS_SEEN, Job, look_at
from frostline.training.receipt_of_run import versions
from frostline.training.resume.session import fit_resumably
from frostline.training.run import Run
from frostline.training.train_loop import fit_call, run_of, train
from frostline.training.watch.callback import Watch

_RESUME_CHANGED = ("refuse", "accept")


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
    watch: bool = False,
    resume: str | os.PathLike[str] | None = None,
    resume_changed: Literal["refuse", "accept"] = "refuse",
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
        stop_on_nan: Whether to stop in the epoch in which the loss or a weight becomes NaN or infinite, with
            an error that names the first such batch. Infinite losses are left to loss scaling where there is
            any, and all of it to `keras.callbacks.TerminateOnNaN` where that is among the callbacks. A run
            that goes on and ends with such weights is not verified.
        preflight: Whether to look, before the first step, if each weight that is to train can receive a
            gradient, and to stop with the explanation if not. Arrays, tensors and `PyDataset`s are looked at.
            Labels that name no class of the output are an error: of arrays before the first step, of streams
            before the step of their batch (TensorFlow refuses such a batch by itself).
        watch: Whether to look at the training once in a while, as `fl.callbacks.Watch` does, for at most 1 %
            of its time beside a first look and a last one: for units that die, gradients that explode,
            weights that stop, and other findings `FL6xx`. They stand in `Run.findings`; what was seen in
            `Run.watched` and in the history.
        resume: A folder for checkpoints, one at the start and one at the end of each epoch. Where it holds
            the checkpoints of this very run, killed at any moment, the run goes on with the epoch that it was
            in, and ends with the numbers of an undisturbed one: weights, slots, phase, seeds, order of data,
            history and receipt. Where it holds the finished run, its end is put on the model and returned.
            Give the same model, plan, data and arguments again; see "Resuming" below.
        resume_changed: Whether to `"refuse"` a folder whose run began with another configuration, code, data
            or arguments, or to `"accept"` it: then the run goes on, and its receipt names what differed.
            Other weights, other values of frozen ones, another optimizer or backend, and a plan that trains
            something else are refused in any case.
        **arguments: All else that `model.fit` takes; with a schedule, all but `epochs` and `initial_epoch`.
            Callbacks that have a method `on_phase_begin(phase)` are told when a phase of it begins.

    Returns:
        A `Run`.

    Raises:
        UncompiledModelError: The model has no optimizer and loss.
        UnbuiltModelError: Its weights do not exist yet.
        ModelError: It holds state that cannot be read and put back (with `guard` or `resume`).
        DistributionError: The model is spread over devices or processes in a way that no answer can be given
            for; see `frostline.apply`.
        PlanError: The plan, or a phase, trains nothing, does not fit the model, or monitors a value that
            this training does not report.
        OptimizerError: The optimizer cannot be used with a plan.
        LayerInCallError: The model makes layers while it is called.
        TrainingError: A callback changed trainable flags by hand.
        DataError: Labels name no class of the output (with `preflight`; those of streams are not looked at).
        NoGradientError: A weight that should train can receive no gradient (with `preflight`), or none of
            them received one.
        NotFiniteError: The loss or a weight became NaN or infinite (with `stop_on_nan`).
        VerificationError: A frozen number changed (with `guard`).
        ResumeError: The folder holds another run, is in use by one, or cannot be written to.

    Resuming:
        The configuration of model, loss, metrics, optimizer and data must be that of the run's beginning, and
        so must the code of your own functions and classes, with what they read: defaults, closures, globals.
        Comments, docstrings and the places where code stands do not count. What cannot be compared is named
        in `Run.not_compared` and in the receipt. Weights that train may have any values when a run goes on,
        they are restored; frozen ones must be as they were. A damaged checkpoint is discarded with a warning,
        and the one before is used; one that cannot be read at the moment is an error. Nothing is removed but
        checkpoints that Frostline wrote.

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
    require_one_machine(model, "fit", *(["schedule"] if isinstance(plan, Schedule) else []))
    _require_compiled(model)
    _require_known(resume_changed)
    if isinstance(plan, Schedule):
        _refuse_epochs(arguments)
    watcher = _watcher(watch, x, y, arguments)
    job = Job(
        model,
        plan,
        _resolutions(model, plan),
        x,
        y,
        arguments,
        guard,
        keep_state,
        stop_on_nan,
        watch=watcher,
    )
    if guard or resume is not None:
        require_holdable(job.resolutions[0].inventory)
    _refuse_best_of_other_parts(job)
    if preflight:
        by_class = arguments.get("class_weight")
        require_labels_in_range(model, y, arguments.get("sample_weight"), class_weight=by_class)
        require_shapes(model, y)
        # Labels for a task are what its preprocessor makes of them.
        if y is None or is_task(model):
            job = replace(job, look_at_batch=labels_of_batches(model))
    seen_before = GRADIENTS_SEEN.get(model) is True and functions_kept(model, job.resolutions[0])
    checking = preflight and not seen_before
    in_first_step = checking and resume is None and first_step.tells(job)
    if checking and not in_first_step:
        job = look_at(job)
    elif not preflight:
        job = replace(job, unchecked="preflight=False")
    elif seen_before:
        job = replace(job, reachable=True)
    if resume is not None:
        return fit_resumably(job, Path(resume), accept=resume_changed == "accept")
    progress = job.begin()
    with first_step.checked(job, progress) if in_first_step else nullcontext():
        history = train(job, progress, fit_call(job, progress))
    return run_of(job, progress, history, versions=versions(), seconds=progress.seconds)


def _watcher(watch: bool, x: Any, y: Any, arguments: dict[str, Any]) -> Watch | None:
    """Return what watches: the user's own callback, where there is one."""
    given = arguments.get("callbacks")
    callbacks = keras.tree.flatten(getattr(given, "callbacks", given))
    found = next((one for one in callbacks if isinstance(one, Watch)), Watch() if watch else None)
    if found is not None:
        found.take_data(x, y, arguments.get("sample_weight"))
        found.expected_epoch = int(arguments.get("initial_epoch", 0))
    return found


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


def _require_known(resume_changed: Any) -> None:
    if resume_changed not in _RESUME_CHANGED:
        close = near(resume_changed, _RESUME_CHANGED) if isinstance(resume_changed, str) else []
        raise ResumeError(
            "resume_changed says what to do with a run that began otherwise",
            received=f"resume_changed={resume_changed!r}",
            expected=" or ".join(map(repr, _RESUME_CHANGED)),
            remedy=f"did you mean {close[0]!r}?" if close else "leave it out to refuse",
        )


def _refuse_epochs(arguments: dict[str, Any]) -> None:
    for name in ("epochs", "initial_epoch"):
        if name in arguments:
            raise PlanError(
                f"{name} cannot be combined with a schedule, whose phases say how long they last",
                received=f"{name}={arguments[name]!r}",
                remedy="leave it out, or give the phases other epochs",
            )


def _refuse_best_of_other_parts(job: Job) -> None:
    """Refuse callbacks that put back weights of an earlier phase, in which other variables stood for them."""
    parts = [{d.weight.address: d.part for d in r.trained if d.how} for r in job.resolutions]
    changing = [a for phase in parts for a in phase if any(other.get(a) != phase[a] for other in parts)]
    if not changing:
        return
    given = job.arguments.get("callbacks")
    callbacks = keras.tree.flatten(getattr(given, "callbacks", given))
    if keeping := [c for c in callbacks if getattr(c, "restore_best_weights", False)]:
        raise PlanError(
            f"{type(keeping[0]).__name__} cannot restore the best weights across phases that train "
            "different parts of a weight",
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
