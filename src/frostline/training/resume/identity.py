"""What makes a run the one it is: a checkpoint of another run must not be continued."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from frostline._keras.optimizers import optimizer_chain
from frostline.errors import ResumeError, listed
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.resolution.resolution import Resolution
from frostline.training.receipt_of_run import data_digests, plan_data
from frostline.verification.fingerprint import Digest, Fingerprint

_NO_PART = {"callbacks", "verbose"}
"""Arguments of `fit` that a run may be continued with others of."""

_DATA = {"sample_weight", "validation_data"}
"""Arguments of which digests are compared, and not what they are."""


def plain(value: Any) -> Any:
    """Return a value as JSON has it; what JSON does not know becomes text."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # A repr may hold an address in memory, which is another in each process.
    return f"{type(value).__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def identity(
    model: Any,
    plan: Plan | Resolution | Schedule,
    before: Fingerprint,
    parts: Mapping[str, str],
    changing: Iterable[str],
    data: Mapping[str, str],
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """Return all that must be the same for a run to be continued, as JSON has it.

    Args:
        model: The compiled model.
        plan: What it is trained under.
        before: Its fingerprint.
        parts: What trains of the weights that train in part, over all phases.
        changing: Addresses of what may change in the run. The rest must have the same values.
        data: Digests of what it is trained on.
        arguments: All other arguments of `fit`.
    """
    may_change = set(changing)
    kept = {a: d for a, d in before.items() if d.role in ("weight", "statistic", "seed")}
    settings = {k: plain(v) for k, v in arguments.items() if k not in _NO_PART | _DATA}
    validation = {"validation_data": arguments.get("validation_data")}
    found = {
        "backend": keras.backend.backend(),
        "model": {a: [d.role, list(d.shape), d.dtype, parts.get(a, "")] for a, d in kept.items()},
        "frozen": {a: _frozen(d, parts.get(a)) for a, d in kept.items() if a in parts or a not in may_change},
        "plan": plan_data(plan),
        "optimizer": [_settings(part) for part in optimizer_chain(model.optimizer)],
        "loss": _loss(model),
        "data": {**data, **data_digests(validation)},
        "arguments": settings,
    }
    # As it comes back from a checkpoint, to be compared with it.
    return dict(json.loads(json.dumps(found)))


def require_same(folder: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `ResumeError`, which names what differs, where a checkpoint is of another run."""
    found = list(_differences(then, now))
    if found:
        raise ResumeError(
            f"the folder {folder!r} holds a run that this call cannot continue",
            received="; ".join(found),
            expected="the model, optimizer, plan, data and arguments that the run began with",
            remedy="call fit with the original arguments, or name another folder for another run",
        )


def require_at_its_beginning(x: Any) -> None:
    """Raise `ResumeError` for a generator that was read from: where it stands cannot be known."""
    if inspect.isgenerator(x) and inspect.getgeneratorstate(x) != inspect.GEN_CREATED:
        raise ResumeError(
            "the generator was read from before, so a run on it cannot be repeated",
            expected="a generator at its beginning",
            remedy="make a new one for each call of fit, or give arrays or a keras.utils.PyDataset",
        )


def _frozen(digest: Digest, part: str | None) -> str | None:
    return digest.blake3 if part is None else digest.rest(part)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if then["backend"] != now["backend"]:
        yield f"backend: {now['backend']} now, {then['backend']} before"
    if then["model"] != now["model"]:
        yield f"another model: {_named(then['model'], now['model'])}"
    elif moved := [a for a, value in then["frozen"].items() if now["frozen"].get(a, value) != value]:
        yield f"other values of frozen weights: {listed(moved)}"
    if then["plan"] != now["plan"]:
        yield "another plan"
    if then["optimizer"] != now["optimizer"]:
        yield f"another optimizer: {_optimizers(then['optimizer'], now['optimizer'])}"
    if then["loss"] != now["loss"]:
        yield f"loss: {now['loss']!r} now, {then['loss']!r} before"
    if then["data"] != now["data"]:
        yield f"other data: {_named(then['data'], now['data'])}"
    for name in sorted({*then["arguments"], *now["arguments"]}):
        old, new = (one["arguments"].get(name, "left out") for one in (then, now))
        if old != new:
            yield f"{name}: {_short(new)} now, {_short(old)} before"


def _named(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return listed([name for name in dict.fromkeys((*then, *now)) if then.get(name) != now.get(name)])


def _optimizers(then: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    kinds = [[part["class"] for part in parts] for parts in (now, then)]
    if kinds[0] != kinds[1]:
        return f"{' of '.join(kinds[0])} now, {' of '.join(kinds[1])} before"
    names = {k for one, other in zip(then, now, strict=True) for k in one if one[k] != other.get(k)}
    return f"{listed(sorted(names))} of {kinds[0][-1]}"


def _short(value: Any) -> str:
    text = value if value == "left out" else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _settings(optimizer: Any) -> dict[str, Any]:
    """Return the settings of an optimizer but for its rate, which callbacks change and checkpoints hold."""
    found: dict[str, Any] = {"class": type(optimizer).__name__}
    try:
        config = optimizer.get_config()
    except NotImplementedError:
        return found
    left_out = {"name", "inner_optimizer"}
    if isinstance(config.get("learning_rate"), float | int):
        left_out.add("learning_rate")
    return found | {k: plain(v) for k, v in config.items() if k not in left_out}


def _loss(model: Any) -> Any:
    loss = getattr(model, "loss", None)
    if isinstance(loss, keras.losses.Loss):
        try:
            return {"class": type(loss).__name__, **plain(loss.get_config())}
        except NotImplementedError:
            return type(loss).__name__
    return plain(loss)
