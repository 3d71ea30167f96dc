"""What training shows of the gradients of its weights, seen from what it left behind."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from frostline._keras.optimizers import decay_of, optimizer_chain, optimizer_targets, rate_schedule
from frostline._keras.variables import to_numpy
from frostline.diagnostics.second_look import SecondLook
from frostline.errors import NoGradientError, listed
from frostline.optimizers.slots import slots_of
from frostline.optimizers.state import steps_made
from frostline.resolution.decision import Decision
from frostline.resolution.resolution import Resolution
from frostline.verification.outcomes import Evidence, Verification, by_reason

_NO_EVIDENCE = ("_model_variables_moving_average", "_accumulated_gradients")
"""Slots that tell nothing: averages follow the weight, accumulated gradients are zero after each update."""

Look = Callable[[Resolution, Sequence[str], bool], SecondLook]
"""Looks at the loss once more, for weights by address, and computes gradients if asked to."""

_Seen = Literal["some", "none", "not told"]


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of an optimizer in a phase of a training, as its counter has them.

    Attributes:
        optimizer: The optimizer.
        begin: How many it had made when the phase began; None where that is not known.
    """

    optimizer: Any
    begin: int | None

    @property
    def made(self) -> bool:
        """Whether it may have updated anything: gradients may still be summed, or every step left out."""
        every = getattr(optimizer_chain(self.optimizer)[-1], "gradient_accumulation_steps", None) or 1
        return self.begin is None or self.begin // every < steps_made(self.optimizer) // every

    def why_none(self) -> str:
        """Say why it has updated nothing."""
        every = getattr(optimizer_chain(self.optimizer)[-1], "gradient_accumulation_steps", None)
        if self.begin is not None and self.begin < steps_made(self.optimizer):
            return (
                f"its gradients are still being summed: fewer steps than gradient_accumulation_steps={every}"
            )
        if len(optimizer_chain(self.optimizer)) > 1:
            return "loss scaling left out every step, since gradients were not finite"
        return "the optimizer of the model made no step"

    def rate(self) -> float:
        """Return the highest learning rate among its steps; of one that is a number, that number as it is."""
        inner = optimizer_chain(self.optimizer)[-1]
        schedule = rate_schedule(inner)
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            return float(to_numpy(inner.learning_rate))
        first, end = self.begin or 0, steps_made(self.optimizer)
        looked_at = np.unique(np.linspace(first, max(first, end - 1), _MOST_RATES).astype(int))
        return max(float(to_numpy(keras.ops.convert_to_tensor(schedule(int(n))))) for n in looked_at)


_MOST_RATES = 200
"""At so many steps, evenly spread, the rate that a schedule gave is looked at."""


def gradient_evidence(
    steps: Steps,
    resolution: Resolution,
    verification: Verification,
    look: Look,
    *,
    reachable: bool,
    filled: Container[str] = (),
) -> Evidence:
    """Say which trained weights got no gradient, and why some did not move.

    A weight that moved may have been moved by weight decay alone, as JAX does where other backends leave it:
    then every slot of the optimizer that gradients fill is as it began. Where there are no such slots, or a
    penalty fills them, too, the loss is looked at once more, without penalties.

    Args:
        steps: Those that the optimizer made.
        resolution: What was to train.
        verification: What moved.
        look: Looks at the loss once more.
        reachable: Whether it is known that gradients can reach all that trains.
        filled: Addresses of weights whose slots may hold gradients of earlier steps: they tell nothing.
    """
    optimizer, unmoved = steps.optimizer, set(verification.of("unmoved"))
    if not steps.made:
        # Slots are as they were, whatever gradients there were.
        return Evidence(why_unmoved=dict.fromkeys(verification.of("unmoved"), steps.why_none()))
    # Where gradients can arrive, what moved was moved by them, or by decay where none did at any step.
    asked = [
        d for d in resolution.trained if not reachable or d.weight.address in unmoved or _decays(optimizer, d)
    ]
    seen, rate = _seen_by_slots(optimizer, asked), steps.rate() if unmoved else None
    seen = {a: "not told" if told == "some" and a in filled else told for a, told in seen.items()}
    if rate == 0:
        # Some optimizers keep gradients times the rate.
        seen = {a: "not told" if a in unmoved and told == "none" else told for a, told in seen.items()}
    still = [a for a, told in seen.items() if a in unmoved and told == "not told"]
    doubtful = [
        d.weight.address for d in asked if not reachable and _is_doubtful(optimizer, d, seen, unmoved, filled)
    ]
    looked = look(resolution, (*still, *doubtful), bool(still)) if still or doubtful else SecondLook()
    dead = {a for a, status in looked.statuses.items() if status in ("cut", "unused")}
    # A gradient of zeros on a few samples, now, tells nothing of the steps that were made.
    untold = [a for a in still if looked.statuses.get(a) in (None, "zero")]
    return Evidence(
        tuple(a for a, told in seen.items() if told == "none" or a in dead),
        {
            d.weight.address: _why_unmoved(d, seen[d.weight.address], looked, rate)
            for d in asked
            if d.weight.address in unmoved
        },
        (*untold, *(a for a in doubtful if a not in looked.statuses)),
    )


def evidence_over(phases: Sequence[tuple[Iterable[str], Evidence]]) -> Evidence:
    """Return what several phases show together: of a weight, what each phase that trained it shows.

    Args:
        phases: For each, the addresses of what it trained, and what it shows.
    """
    found: dict[str, list[Evidence]] = {}
    for trained, evidence in phases:
        for address in trained:
            found.setdefault(address, []).append(evidence)
    silent = [a for a, every in found.items() if all(a in one.no_gradient for one in every)]
    untold = [
        a
        for a, every in found.items()
        if a not in silent and all(a in (*one.no_gradient, *one.untold) for one in every)
    ]
    why = {a: words for _, one in phases for a, words in one.why_unmoved.items()}
    return Evidence(tuple(silent), why, tuple(untold))


def _seen_by_slots(optimizer: Any, asked: Sequence[Decision]) -> dict[str, _Seen]:
    """Say of weights, by address, whether gradients have filled the optimizer's slots."""
    inner = optimizer_chain(optimizer)[-1]
    if not inner.built:
        return {d.weight.address: "none" for d in asked}
    telling = {
        id(variable): _telling(found)
        for variable, found in zip(optimizer_targets(inner), slots_of(inner), strict=True)
    }
    seen: dict[str, _Seen] = {}
    for decision in asked:
        # A parametrized weight has a variable, and slots, for each of its parts.
        parts = [(variable, telling.get(id(variable), {})) for _, variable in decision.weight.targets]
        if not any(found for _, found in parts):
            seen[decision.weight.address] = "not told"
        elif all(_are_as_begun(inner, variable, found) for variable, found in parts):
            seen[decision.weight.address] = "none"
        else:
            seen[decision.weight.address] = "some"
    return seen


def _is_doubtful(
    optimizer: Any,
    decision: Decision,
    seen: Mapping[str, _Seen],
    unmoved: Iterable[str],
    filled: Container[str],
) -> bool:
    """Whether a weight that moved may have been moved by decay, a penalty or an old momentum alone."""
    address = decision.weight.address
    if address in unmoved or seen[address] == "none":
        return False
    variables = [variable for _, variable in decision.weight.targets]
    if any(getattr(variable, "regularizer", None) is not None for variable in variables):
        return True
    return seen[address] == "not told" and (address in filled or _decays(optimizer, decision))


def _decays(optimizer: Any, decision: Decision) -> bool:
    inner = optimizer_chain(optimizer)[-1]
    return any(decay_of(inner, variable) for _, variable in decision.weight.targets)


def _why_unmoved(decision: Decision, seen: _Seen, looked: SecondLook, rate: float | None) -> str:
    if seen == "none":
        return "no gradient, or one of zeros at every step"
    assert rate is not None
    rate *= decision.lr
    status = looked.statuses.get(decision.weight.address)
    if status in ("cut", "unused"):
        return f"no gradient of the loss can reach it ({status})"
    if status == "zero":
        return "its gradient is zero on the samples looked at"
    if rate == 0:
        return "its learning rate is 0"
    if seen == "not told" and status is None:
        return f"it is not known why: no gradient, or steps too small ({looked.failure})"
    if seen == "not told" and _lost_in_rounding(decision, rate, looked):
        return "its steps are lost in rounding, smaller than the last bit of its numbers"
    return "its steps are smaller than the last bit of its numbers, or something put these back"


def _lost_in_rounding(decision: Decision, rate: float, looked: SecondLook) -> bool:
    """Whether a plain step along the gradients that were seen changes no number."""
    for name, variable in decision.weight.targets:
        gradient, value = looked.gradients.get(name), to_numpy(variable)
        if gradient is None or gradient.shape != value.shape:
            return False
        step = (rate * gradient.astype("float64")).astype(value.dtype)
        if not np.array_equal(value - step, value):
            return False
    return True


def no_gradient(model: Any, missing: Iterable[str]) -> NoGradientError:
    """Return the error for a training in which nothing could learn; the same text on every backend."""
    return NoGradientError(
        f"nothing that the plan trains in the model {model.name!r} received a gradient",
        received=f"no gradient, or zero at every step, for {listed(missing)}",
        expected="a loss that depends on these weights through differentiable operations",
        remedy="look for round, argmax, a cast to integers, stop_gradient or a learning rate of 0 on the way",
    )


def nothing_moved(model: Any, unmoved: Mapping[str, str]) -> NoGradientError:
    """Return the error for a training in which nothing moved, and it is not known that steps were lost."""
    return NoGradientError(
        f"nothing that the plan trains in the model {model.name!r} moved",
        received="; ".join(by_reason(unmoved)),
        expected="a loss that depends on these weights, and steps that their numbers can show",
        remedy="see which of them it is, with a batch as arrays: fl.audit(model, x, y, plan=plan)",
    )


def _telling(slots: Mapping[str, Any]) -> dict[str, Any]:
    return {name: slot for name, slot in slots.items() if name not in _NO_EVIDENCE}


def _are_as_begun(optimizer: Any, variable: Any, slots_now: Mapping[str, Any]) -> bool:
    """Whether no gradient went into the slots of a variable."""
    if slots_now and not any(_may_be_uniform(slot) for slot in slots_now.values()):
        return False
    values = {name: to_numpy(slot) for name, slot in slots_now.items()}
    if not any(np.any(value) for value in values.values()):
        return True
    # Adagrad, for one, begins its slots at 0.1. To ask how slots began means to build an optimizer once more,
    # so that is done only where one is still the same number all over; and not for an optimizer of somebody's
    # own, which may not be made again from its config.
    own = not type(optimizer).__module__.startswith("keras.")
    if own or not any(np.all(value == value.reshape(-1)[:1]) for value in values.values()):
        return False
    first = _first_slots(optimizer, variable)
    return bool(first) and all(np.array_equal(values[name], value) for name, value in first.items())


def _may_be_uniform(slot: Any) -> bool:
    """Whether a slot may be one number all over, by its first elements: slots are large."""
    head = to_numpy(keras.ops.reshape(slot.value, (-1,))[:_HEAD])
    return bool(np.all(head == head[:1]))


_HEAD = 1_000


def _first_slots(optimizer: Any, variable: Any) -> dict[str, Any]:
    """Return what the slots of a variable begin with, but for those that begin as the variable itself.

    The `momentum` of ScheduleFreeAdamW is one. It began as the variable's first value, which is gone: that
    it is not as the variable is now would say nothing.
    """
    new = type(optimizer).from_config(optimizer.get_config())
    new.build([variable])
    weight = to_numpy(variable)
    (begun,) = slots_of(new)
    first = {name: to_numpy(slot) for name, slot in _telling(begun).items()}
    return {name: v for name, v in first.items() if not (np.any(v) and np.array_equal(v, weight))}
