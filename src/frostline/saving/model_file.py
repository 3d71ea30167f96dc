"""`save_model` and `load_model`: the ordinary `.keras` archive, with Frostline's decisions in it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
from blake3 import blake3

from frostline._keras.files import in_safe_mode, saved_compiled_as
from frostline._keras.optimizers import compiled_optimizer
from frostline._keras.trainers import sync_values
from frostline._version import __version__
from frostline.errors import FrostlineError, ModelFileError, text_of
from frostline.files.atomic import replaced_atomically
from frostline.files.json_text import parsed_json
from frostline.files.reading import kind_of
from frostline.files.sealed import BrokenSealError, sealed, unsealed
from frostline.files.tensor_file import Array, packed, unpacked
from frostline.model.checks import require_keras_model
from frostline.model.inventory import inventory
from frostline.model.loading import load_archive, opened_model, require_archive
from frostline.saving.held_values import held_weights
from frostline.saving.native_lora import layers_with_lora, require_writable
from frostline.saving.optimizer_state import (
    built_optimizer,
    is_built_alike_by_keras,
    optimizer_state,
    restore_optimizer,
    targets_by_address,
)
from frostline.saving.plan_state import Decisions, decisions_of, restore_decisions

SCHEMA = 1
DECISIONS, VALUES = "frostline.json", "frostline.safetensors"
"""The members of the archive that are Frostline's; Keras passes over them."""


def save_model(model: Any, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write a model so that Keras opens it plainly, and Frostline with every decision in place.

    The file is the ordinary `.keras` archive with merged weights, and members of Frostline's beside those of
    Keras: the plan that is on the model, the flag of every weight and layer (inside custom layers and
    MultiHeadAttention too, where Keras loses them), parametrizations with the values of their parts, and
    the state of the optimizer by address. The model stays as it is.

    What Keras does not bring back as it was is in Frostline's members, too: state that is not a Keras
    variable (buffers of PyTorch modules, a `tf.Variable` of a layer, what a stateful recurrent layer
    remembers), and the kernel, the factors and `lora_alpha` of Keras's own LoRA. Plain Keras finds LoRA
    merged into the kernel, which rounds where that is quantized, and factors of zeros, which then do not
    train.

    Plain Keras gets the optimizer as well where it would build it for the same weights. Where it would not,
    since it does not know the flags of single weights or the parts of a parametrized one, or where there was
    no training step yet, plain Keras opens the model uncompiled, without a warning; Frostline's `load_model`
    finds it compiled.

    Args:
        model: A built `keras.Model`.
        path: A file that ends in `.keras`.
        overwrite: Whether to replace a file that is there. It is replaced as a whole or not at all.

    Raises:
        ModelFileError: The file cannot be written, or the model cannot be saved by Keras.
        ParametrizationError: A parametrization of your own is not registered with Keras.
        OptimizerError: The optimizer is of another model, or hides its slots.

    Example:
        >>> import keras, tempfile
        >>> from frostline.parametrization.install import parametrize
        >>> from frostline.parametrization.selections import Rows
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(100, 8, name="tokens")])
        >>> rows = parametrize(model, "tokens/embeddings", Rows(slice(90, None)))
        >>> path = Path(tempfile.mkdtemp()) / "model.keras"
        >>> save_model(model, path)
        >>> [tuple(v.shape) for v in load_model(path).trainable_variables]
        [(10, 8)]
        >>> [tuple(v.shape) for v in keras.models.load_model(path).trainable_variables]
        [(100, 8)]
    """
    path = Path(path)
    _require_possible(model, path, overwrite=overwrite)
    _save_whole(model, path)


def _save_whole(model: Any, path: Path, check: Callable[[Path], None] | None = None) -> None:
    """Write a model with every decision; `check` as for `save_plainly`."""
    sync_values(model)
    model_inventory = inventory(model)
    require_writable(model_inventory)
    decisions = decisions_of(model, model_inventory)
    data: dict[str, Any] = {**decisions.data, "compile": None, "optimizer": None}
    arrays = dict(decisions.arrays)
    optimizer, by_keras = built_optimizer(model), not getattr(model, "compiled", False)
    if optimizer is not None:
        targets = targets_by_address(optimizer, model_inventory)
        by_keras = is_built_alike_by_keras(model, model_inventory, targets)
        data["optimizer"], slots = optimizer_state(optimizer, targets, by_keras=by_keras)
        arrays |= slots
    settings = _portable(type(model).get_compile_config(model))
    data["compile"] = None if by_keras else settings
    members = _members(data, arrays)
    with replaced_atomically(path, ModelFileError) as temporary:
        _save(model, temporary, path, settings if by_keras else {})
        with zipfile.ZipFile(temporary, "a") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        if check is not None:
            check(temporary)


def load_model(
    path: str | os.PathLike[str],
    *,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
    compile: bool = True,
) -> Any:
    """Read a model that `save_model` wrote, with every decision in place.

    Training goes on from there with the numbers that it would have had: the digest of every weight is in the
    file, and what a layer brings back otherwise is an error that names it. A `.keras` file that Keras itself
    wrote is opened as Keras opens it.

    Args:
        path: The file.
        custom_objects: Classes and functions by name, where they are not registered with Keras.
        safe_mode: Whether to refuse files that contain Python code (Lambda layers), which loading would run.
        compile: Whether the model comes with its optimizer, loss and metrics.

    Returns:
        The model.

    Raises:
        ModelFileError: There is no such file, it is damaged or was altered, or Keras cannot load it.
        ParametrizationError: It has a parametrization of your own whose class is not known here.

    Example:
        >>> import keras, tempfile
        >>> from frostline.trainability.apply import apply
        >>> from frostline.plan.plan import Plan
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> model.compile("adam", "mse")
        >>> applied = apply(model, Plan().train("head/bias"))
        >>> path = Path(tempfile.mkdtemp()) / "model.keras"
        >>> save_model(model, path)
        >>> [variable.name for variable in load_model(path).trainable_variables]
        ['bias']
    """
    path = Path(path)
    require_archive(path)
    found = _read(path)
    objects = dict(custom_objects or {})
    if found is None:
        return load_archive(
            path, safe_mode=safe_mode, custom_objects=objects, compiled=compile, in_python=True
        )
    data, arrays = found
    by_keras = compile and data["compile"] is None
    model = load_archive(path, safe_mode=safe_mode, custom_objects=objects, compiled=by_keras, in_python=True)
    try:
        names = restore_decisions(model, Decisions(data, arrays), objects)
        if compile:
            _compile(model, data, objects, safe_mode)
            if data["optimizer"] is not None and compiled_optimizer(model) is not None:
                restore_optimizer(model, data["optimizer"], arrays, names)
    except FrostlineError as error:
        raise type(error)(
            f"{str(path)!r} cannot be restored: {error.what}",
            received=error.received,
            expected=error.expected,
            remedy=error.remedy,
        ) from error
    return model


def save_plainly(
    model: Any, path: str | os.PathLike[str], *, check: Callable[[Path], None] | None = None
) -> None:
    """Write a model as Keras does, whole or not at all, and without its optimizer.

    A model that Keras's own file does not hold as it is, since Keras merges its LoRA or does not know of some
    of its state, is written as `save_model` does it.

    Args:
        model: The model.
        path: The file.
        check: Looks at the whole file before it takes its name; where that raises, it does not.

    Raises:
        ModelFileError: The file cannot be written, or the model cannot be saved by Keras.
    """
    path = Path(path)
    _require_possible(model, path, overwrite=True)
    model_inventory = inventory(model)
    if layers_with_lora(model_inventory) or held_weights(model_inventory):
        _save_whole(model, path, check)
        return
    with replaced_atomically(path, ModelFileError) as temporary:
        _save(model, temporary, path, {})
        if check is not None:
            check(temporary)


def has_decisions(path: Path) -> bool:
    """Whether a whole `.keras` archive has Frostline's members."""
    with opened_model(path) as archive:
        return DECISIONS in archive.names


def _require_possible(model: Any, path: Path, *, overwrite: bool) -> None:
    require_keras_model(model, "saved")
    if path.suffix != ".keras":
        raise ModelFileError(
            f"{str(path)!r} is not a name for a saved model",
            expected="a name that ends in .keras",
            remedy=f"write {str(path.with_suffix('.keras'))!r}",
        )
    if kind_of(path) is not None and not overwrite:
        raise ModelFileError(
            f"{str(path)!r} exists already", remedy="name another file, or leave out overwrite=False"
        )


def _save(model: Any, temporary: Path, path: Path, settings: Mapping[str, Any]) -> None:
    try:
        with saved_compiled_as(model, settings):
            model.save(temporary)
    except FrostlineError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # A lambda without source raises one too, with no number.
        lines = text_of(error).strip().splitlines() or [""]
        raise ModelFileError(
            f"Keras cannot save the model {model.name!r} to {str(path)!r}",
            received=f"{type(error).__name__}: {lines[0][:300]}",
            remedy="see the chained Keras error above",
        ) from error


def _portable(settings: Any) -> Any:
    """Return compile settings that every backend can read.

    Keras on PyTorch names its optimizers by a module of that backend, and the file then trains nowhere else.
    """
    if isinstance(settings, list):
        return [_portable(one) for one in settings]
    if not isinstance(settings, dict):
        return settings
    portable = {key: _portable(value) for key, value in settings.items()}
    if str(portable.get("module", "")).startswith("keras.src.backend.torch.optimizers"):
        portable |= {"module": "keras.optimizers", "registered_name": None}
    return portable


def _members(data: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, bytes]:
    """Return Frostline's members of the archive; each says what the other must be."""
    values = packed(arrays) if arrays else b""
    contents = {
        "frostline_model": SCHEMA,
        "frostline": __version__,
        **data,
        "values": _digest(values) if arrays else None,
    }
    text = json.dumps(sealed(contents), indent=1)
    members = {DECISIONS: text.encode()}
    return {**members, VALUES: values} if arrays else members


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """Return Frostline's decisions and arrays in an archive; None where it has none."""
    with opened_model(path) as archive:
        if DECISIONS not in archive.names:
            # Then the model would be loaded without them, and nobody would know.
            if DECISIONS.encode() in archive.end:
                raise _altered(path, "the list of the members of the archive is damaged")
            return None
        text = archive.read(DECISIONS)
        values = archive.read(VALUES) if VALUES in archive.names else None
    try:
        contents = parsed_json(text)
        version = contents.get("frostline_model")
    except (ValueError, AttributeError):
        raise _altered(path, "it is not JSON") from None
    if version != SCHEMA:
        raise ModelFileError(
            f"the decisions in {str(path)!r} are of another version of Frostline",
            received=f"version {version!r}",
            expected=f"version {SCHEMA}",
            remedy="load it with the version that wrote it; keras.models.load_model opens the model "
            "without the decisions",
        )
    try:
        data = unsealed(contents)
    except BrokenSealError as problem:
        raise _altered(path, str(problem)) from None
    if data["values"] != (_digest(values) if values is not None else None):
        raise _altered(path, f"{VALUES} is not the one it was written with")
    try:
        return data, unpacked(values) if values is not None else {}
    except ValueError as problem:
        raise _altered(path, f"{VALUES}: {problem}") from None


def _compile(model: Any, data: Mapping[str, Any], objects: dict[str, Any], safe_mode: bool) -> None:
    if data["compile"]:
        with in_safe_mode(safe_mode), keras.saving.custom_object_scope(objects):
            model.compile_from_config(data["compile"])


def _altered(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"the decisions in {str(path)!r} were altered after they were written",
        received=f"{DECISIONS}: {why}",
        expected="what frostline.save_model wrote",
        remedy="ask for the file as it was saved; keras.models.load_model opens the model without the "
        "decisions",
    )


def _digest(raw: bytes) -> str:
    return blake3(raw, max_threads=blake3.AUTO).hexdigest()
