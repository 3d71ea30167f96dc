"""The check of a training's first gradients, where looking at them costs less than a forward pass for it.

PyTorch runs every operation as it comes, so a look in advance repeats a forward pass, while the gradients of
the first step are there for nothing. A weight that no gradient can reach has none, or one of zeros. Many a
gradient of zeros is as it should be, so only then is the computation looked at. Nothing has been updated yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from frostline import _keras
from frostline.applying import functions_kept
from frostline.auditing import stepping
from frostline.auditing.preflight import first_samples
from frostline.errors import NoGradientError
from frostline.training.job import Job, look_at

_BY = "first step"


def checked(job: Job, *, in_advance: bool) -> AbstractContextManager[None]:
    """Check a training before its first update: at once, or in its first step.

    Args:
        job: What is to be trained. What was trained before with the same functions is not checked again.
        in_advance: Whether not even the first step may be begun.

    Returns:
        What to train in.

    Raises:
        NoGradientError: A weight that some phase trains can receive no gradient. Within the context, too.
    """
    if functions_kept(job.model, job.resolutions[0]):
        return nullcontext()
    if not in_advance and _first_step_tells(job):
        return _checked_in_first_step(job)
    look_at(job)
    return nullcontext()


def _first_step_tells(job: Job) -> bool:
    import keras

    return (
        keras.backend.backend() == "torch"
        and len(job.resolutions) == 1
        and not job.model.jit_compile
        and not stepping.is_custom(job.model)
        and first_samples(job.x, job.y, None) is not None
    )


@contextmanager
def _checked_in_first_step(job: Job) -> Iterator[None]:
    optimizer = job.model.optimizer
    before = _state(job)

    def watched(apply: Callable[..., Any]) -> Callable[..., Any]:
        def first(gradients: Sequence[Any], *arguments: Any, **named: Any) -> Any:
            _keras.restore_method(optimizer, "apply", by=_BY)
            if any(_is_absent(gradient) for gradient in gradients):
                try:
                    look_at(job)
                except NoGradientError:
                    for variable, value in before:
                        variable.assign(value)
                    raise
            return apply(gradients, *arguments, **named)

        return first

    _keras.replace_method(optimizer, "apply", watched, by=_BY)
    try:
        yield
    finally:
        _keras.restore_method(optimizer, "apply", by=_BY)


def _state(job: Job) -> list[tuple[Any, Any]]:
    """What a forward pass in training changes, and its values."""
    import keras

    held = job.resolutions[0].inventory.of_role("statistic", "seed")
    return [(w.variable, keras.ops.copy(w.variable.value)) for w in held]


def _is_absent(gradient: Any) -> bool:
    import keras

    return gradient is None or not bool(keras.ops.any(gradient))
