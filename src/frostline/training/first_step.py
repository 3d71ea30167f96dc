"""The check of a training's first gradients, where looking at them costs less than a forward pass for it.

PyTorch runs every operation as it comes, so a look in advance repeats a forward pass, while the gradients of
the first step are there for nothing. A weight that no gradient can reach has none, or one of zeros. Many a
gradient of zeros is as it should be, so only then is the computation looked at, and where a penalty may hide
one. Nothing has been updated yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from frostline._keras.methods import replace_method, restore_method
from frostline._keras.variables import to_numpy
from frostline.diagnostics.custom_step import has_custom_step
from frostline.diagnostics.first_samples import first_samples
from frostline.errors import NoGradientError
from frostline.training.job import Job, Progress, look_at

_BY = "first step"


def tells(job: Job) -> bool:
    """Whether the first step of a training shows what a look in advance would."""
    return (
        keras.backend.backend() == "torch"
        and len(job.resolutions) == 1
        and not job.model.jit_compile
        and not has_custom_step(job.model)
        and first_samples(job.x, job.y, None, most=1) is not None
    )


@contextmanager
def checked(job: Job, progress: Progress) -> Iterator[None]:
    """Check a training in its first step; where it must not go on, the model is as before its plan.

    Args:
        job: What is to be trained.
        progress: Its plan is on the model.

    Raises:
        NoGradientError: A weight that the plan trains can receive no gradient.
    """
    optimizer, before = job.model.optimizer, _state(job)
    updated, explained = False, False

    def watched(apply: Callable[..., Any]) -> Callable[..., Any]:
        def first(gradients: Sequence[Any], *arguments: Any, **named: Any) -> Any:
            nonlocal updated, explained
            restore_method(optimizer, "apply", by=_BY)
            progress.ledger.reachable = True
            if any(_is_absent(gradient) for gradient in gradients) or _has_penalties(job):
                explained = True
                seen = look_at(job)
                progress.ledger.reachable, progress.ledger.unchecked = seen.reachable, seen.unchecked
            updated = True
            return apply(gradients, *arguments, **named)

        return first

    # `train_step` calls this once for each step; the first call takes the replacement off again.
    replace_method(optimizer, "apply", watched, by=_BY)
    try:
        yield
    except NoGradientError:
        if updated:
            raise
        _take_back(progress, before)
        if not explained:
            look_at(job)  # PyTorch stops by itself where no weight at all can receive one, and says no more
        raise
    finally:
        restore_method(optimizer, "apply", by=_BY)


def _take_back(progress: Progress, before: Sequence[tuple[Any, Any]]) -> None:
    for variable, value in before:
        variable.assign(value)
    if progress.applied is not None:
        progress.applied.undo()


def _state(job: Job) -> list[tuple[Any, Any]]:
    """What a forward pass in training changes, and its values."""
    moving = job.resolutions[0].inventory.of_role("statistic", "seed", "state")
    return [(w.variable, to_numpy(w.variable)) for w in moving]


def _has_penalties(job: Job) -> bool:
    """Whether a gradient may be that of a penalty alone."""
    variables = (v for d in job.resolutions[0].trained for _, v in d.weight.targets)
    return any(getattr(variable, "regularizer", None) is not None for variable in variables)


def _is_absent(gradient: Any) -> bool:
    return gradient is None or not bool(keras.ops.any(gradient))
