"""What makes a run the one it is: a checkpoint of another run must not be continued."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from frostline._keras.optimizers import optimizer_chain
from frostline.errors import ResumeError, listed
from frostline.files.json_text import as_in_json
from frostline.model.alignment import Known, align, former_names, warn_of_former_names
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.resolution.resolution import Resolution
from frostline.training.receipt_of_run import data_digests, plan_data
from frostline.training.resume.differences import differences, not_comparable, renumbered, shortened
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
    made_of: Mapping[str, Any],
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
        made_of: The configuration and the code of all of it, from `configuration`.
    """
    may_change = set(changing)
    # Tensors that a module keeps as attributes may be there at one time and not at another.
    kept = {
        a: d
        for a, d in before.items()
        if d.role in ("weight", "statistic", "seed") or (d.role == "state" and not d.is_held)
    }
    settings = {k: plain(v) for k, v in arguments.items() if k not in _NO_PART | _DATA}
    validation = {"validation_data": arguments.get("validation_data")}
    found = {
        "backend": keras.backend.backend(),
        "model": {a: [d.role, list(d.shape), d.dtype, parts.get(a, "")] for a, d in kept.items()},
        "stems": {a: d.stem for a, d in kept.items()},
        "former stems": {a: d.former for a, d in kept.items() if d.former},
        "no Keras variables": [a for a, d in kept.items() if d.is_held or d.role == "state"],
        "frozen": {a: _frozen(d, parts.get(a)) for a, d in kept.items() if a in parts or a not in may_change},
        "plan": plan_data(plan),
        "optimizer": [_settings(part) for part in optimizer_chain(model.optimizer)],
        "loss": _loss(model),
        "data": {**data, **data_digests(validation)},
        "arguments": settings,
        "made of": made_of,
    }
    # As it comes back from a checkpoint, to be compared with it.
    return dict(as_in_json(found))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a checkpoint's identity and that of a call have in common.

    Attributes:
        changed: What differs and need not keep a run from going on, one phrase each.
        forbidding: What differs so that no run can go on.
        not_compared: What could not be compared, one phrase each.
    """

    changed: tuple[str, ...]
    forbidding: tuple[str, ...]
    not_compared: tuple[str, ...]


def compared(then: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]) -> Comparison:
    """Compare the identity in a checkpoint with that of a call.

    Args:
        then: From the checkpoint, with the present addresses.
        now: From this call.
        defaults: The arguments of `fit` that are the same as left out, as JSON has them.
    """
    gaps = _gaps(then, now)
    return Comparison(tuple(_other(then, now, defaults)), tuple(_forbidding(then, now)), gaps)


def require_same(folder: str, found: Comparison, *, accept: bool) -> None:
    """Raise `ResumeError`, which names what differs, where a checkpoint is of another run.

    Args:
        folder: Where it is.
        found: From `compared`.
        accept: Whether to go on with what differs, where that is possible.
    """
    if not found.forbidding and (accept or not found.changed):
        return
    remedy = "call fit with the original arguments, or name another folder for another run"
    if accept:
        remedy = f"{remedy}; resume_changed='accept' cannot continue with this"
    raise ResumeError(
        f"the folder {folder!r} holds a run that this call cannot continue",
        received=shortened(found.forbidding + (() if accept else found.changed)),
        expected="the model, optimizer, plan, data and arguments that the run began with",
        remedy=remedy,
    )


def with_addresses(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return the present address of each weight of a checkpoint: Keras may have numbered layers otherwise."""
    stems = then.get("stems", {})
    saved = {address: Known(kind, stems.get(address)) for address, kind in then["model"].items()}
    former, since = now["former stems"], set(now["no Keras variables"])
    present = {
        address: Known(kind, now["stems"][address], former.get(address, ""), address in since)
        for address, kind in now["model"].items()
    }
    names = dict(align(saved, present).names)
    if told := former_names(names, present):
        warn_of_former_names("the checkpoint", told)
    return names


def _model_in_0_1(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint could know of the model: 0.1 told of no state that is not a Keras variable."""
    if "stems" in then:
        return dict(now["model"])
    left_out = {a for a in now["no Keras variables"] if a not in then["model"] and a in now["frozen"]}
    return {address: kind for address, kind in now["model"].items() if address not in left_out}


def require_at_its_beginning(x: Any) -> None:
    """Raise `ResumeError` for a generator that was read from: where it stands cannot be known."""
    if inspect.isgenerator(x) and inspect.getgeneratorstate(x) != inspect.GEN_CREATED:
        raise ResumeError(
            "the generator was read from before, so a run on it cannot be repeated",
            expected="a generator at its beginning",
            remedy="make a new one for each call of fit, or give arrays or a keras.utils.PyDataset",
        )


def defaults_of_fit(model: Any) -> dict[str, Any]:
    """Return the arguments of `fit` that have a value where they are left out, as JSON has them."""
    found = {}
    for owner in (keras.Model, type(model)):
        for name, parameter in inspect.signature(owner.fit).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                found[name] = plain(parameter.default)
    return found


def _frozen(digest: Digest, part: str | None) -> str | None:
    return digest.blake3 if part is None else digest.rest(part)


def _forbidding(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what no checkpoint can be put on: other weights, and what would break the proof of the run."""
    if then["backend"] != now["backend"]:
        yield f"backend: {now['backend']} now, {then['backend']} before"
    model = _model_in_0_1(then, now)
    if then["model"] != model:
        yield f"another model: {_named(then['model'], model)}"
    elif moved := [a for a, value in then["frozen"].items() if now["frozen"].get(a, value) != value]:
        yield f"other values of frozen weights: {listed(moved)}"
    if then["plan"] != now["plan"] and not _trains_the_same(then, now):
        yield "another plan"
    if _classes(then) != _classes(now):
        yield f"another optimizer: {_optimizers(then['optimizer'], now['optimizer'])}"


def _other(then: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else differs: a run could go on, and would be another one."""
    if then["plan"] != now["plan"] and _trains_the_same(then, now):
        yield "another plan"
    if _classes(then) == _classes(now) and then["optimizer"] != now["optimizer"]:
        yield f"another optimizer: {_optimizers(then['optimizer'], now['optimizer'])}"
    if then["loss"] != now["loss"]:
        yield f"loss: {now['loss']!r} now, {then['loss']!r} before"
    if then["data"] != now["data"]:
        yield f"other data: {_named(then['data'], now['data'])}"
    for name in sorted({*then["arguments"], *now["arguments"]}):
        old, new = (one["arguments"].get(name, "left out") for one in (then, now))
        values = [defaults.get(name, "left out") if one == "left out" else one for one in (old, new)]
        if values[0] != values[1]:
            yield f"{name}: {_short(new)} now, {_short(old)} before"
    told = {name for name in ("loss", "optimizer") if then[name] != now[name]}
    yield from differences(*_parts(then, now, leave_out=told))


def _parts(
    then: Mapping[str, Any], now: Mapping[str, Any], *, leave_out: Iterable[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what both are made of, by the present addresses; nothing where the checkpoint does not know."""
    if "made of" not in then:
        return {}, {}
    names = renumbered(then["made of"]["layers"], now["made of"]["layers"])
    before = {names.get(name, name): one for name, one in then["made of"]["parts"].items()}
    left_out = {*leave_out, *(f"{name}{n}" for name in leave_out for n in range(1, 4))}
    return (
        {name: one for name, one in before.items() if name not in left_out},
        {name: one for name, one in now["made of"]["parts"].items() if name not in left_out},
    )


def _gaps(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    if "made of" not in then:
        return (
            "the configuration and the code of model, loss, metrics, optimizer and data, which Frostline 0.1 "
            "did not write down",
        )
    gaps = [*then["made of"]["not compared"], *now["made of"]["not compared"]]
    return tuple(dict.fromkeys([*gaps, *not_comparable(*_parts(then, now))]))


def _trains_the_same(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two plans without phases train the same, and differ in rates alone."""
    phased = any(isinstance(one["plan"], Mapping) and "phases" in one["plan"] for one in (then, now))
    return (
        not phased
        and then["model"] == _model_in_0_1(then, now)
        and then["frozen"].keys() == now["frozen"].keys()
    )


def _classes(one: Mapping[str, Any]) -> list[str]:
    return [part["class"] for part in one["optimizer"]]


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
