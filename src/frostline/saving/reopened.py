"""What was written, opened again and held against what was meant: nothing is called saved before."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from frostline._keras.files import in_safe_mode
from frostline._keras.trainers import sync_values
from frostline.errors import FrostlineError, ModelFileError, listed, text_of
from frostline.files.json_text import parsed_json
from frostline.model.inventory import Inventory, inventory
from frostline.model.loading import load_archive, opened_model, require_archive
from frostline.render.foreign import warn
from frostline.verification.fingerprint import Fingerprint, fingerprint_of
from frostline.verification.verify import compare


def save_with_optimizer(model: Any, path: Path, place: Path) -> None:
    """Write a model as Keras does, optimizer included.

    Args:
        model: The model.
        path: The file to write.
        place: Where it goes afterwards, for messages.

    Raises:
        ModelFileError: Keras cannot write it; names the layer.
        OSError: The disk cannot take it.
    """
    try:
        model.save(path)
    except FrostlineError:
        raise
    except Exception as error:  # whatever the code of a layer raises is the answer
        if isinstance(error, OSError) and error.errno is not None:
            raise  # A lambda without source raises one too, with no number.
        problem = ModelFileError(
            "", received=f"{type(error).__name__}: {' '.join(text_of(error).split())[:300]}"
        )
        raise _unopened(place, model, {}, problem, safe_mode=False) from error


def require_opens(
    path: Path,
    model: Any,
    *,
    safe_mode: bool = True,
    custom_objects: Mapping[str, Any] | None = None,
    compiled: bool = True,
    place: Path | None = None,
) -> None:
    """Open a `.keras` file that was just written, and hold its weights against those of the model.

    Args:
        path: The file.
        model: The model that was written to it.
        safe_mode: Whether whoever opens it does so without running Python code from it.
        custom_objects: Classes and functions that whoever opens it has at hand.
        compiled: Whether to look at optimizer and loss, too; where these alone cannot be opened, that is a
            warning.
        place: Where it goes afterwards, for messages; by default it stays where it is.

    Raises:
        ModelFileError: It cannot be opened, names the layer; or it holds other values than the model.
    """
    require_archive(path)
    sync_values(model)
    objects = dict(custom_objects or {})
    again = _opened(path, place or path, model, objects, safe_mode=safe_mode, compiled=compiled)
    _require_same_values(place or path, model, again)


def _opened(
    path: Path, place: Path, model: Any, objects: dict[str, Any], *, safe_mode: bool, compiled: bool
) -> Any:
    def load(compiled: bool) -> Any:
        return load_archive(
            path, safe_mode=safe_mode, custom_objects=objects, compiled=compiled, in_python=True
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of slots that do not fit: Keras says it to whoever opens it, too.
        try:
            return load(compiled)
        except ModelFileError as problem:
            first = problem
        try:
            again = load(False) if compiled else None
        except ModelFileError:
            again = None
    if again is None:
        raise _unopened(place, model, objects, first, safe_mode=safe_mode) from first
    warn(
        f"{str(place)!r} opens with compile=False only, since what the model was compiled with cannot be "
        f"read again: {first.received}",
        stacklevel=4,
    )
    return again


def _unopened(
    path: Path, model: Any, objects: dict[str, Any], problem: ModelFileError, *, safe_mode: bool
) -> ModelFileError:
    found = list(layers_not_made_again(inventory(model), objects, safe_mode=safe_mode))
    layers = listed(f"{address} ({kind}): {why}" for address, kind, why in found)
    return ModelFileError(
        f"no file {str(path)!r} of the model can be made that opens again"
        + (f" because of {listed(address for address, _, _ in found)}" if found else ""),
        received=layers or problem.received,
        expected="layers that their configuration describes in full: classes and functions that are "
        "registered with Keras or can be imported, and no lambdas",
        remedy="define it in a module under @keras.saving.register_keras_serializable() and name the module, "
        "or use one of Keras's own by name",
    )


def classes_in(path: Path) -> set[str]:
    """Return the names of the classes and functions that a `.keras` file names, compile settings left out."""
    with opened_model(path) as archive:
        config = parsed_json(archive.read("config.json"))
    found: set[str] = set()

    def look(data: Any) -> None:
        if isinstance(data, dict):
            named = (
                data.get("class_name"),
                data.get("config") if data.get("class_name") == "function" else None,
            )
            found.update(name for name in named if isinstance(name, str))
        for inner in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
            look(inner)

    look({key: value for key, value in config.items() if key != "compile_config"})
    return found


def layers_not_made_again(
    layers: Inventory, objects: Mapping[str, Any], *, safe_mode: bool
) -> Iterator[tuple[str, str, str]]:
    """Yield address, class and reason of the layers that cannot be made again from their configuration.

    Of layers within one another only the innermost.
    """
    failed: list[str] = []
    # From the inside to the outside.
    for node in sorted(layers.layers, key=lambda node: -node.address.count("/")):
        if not node.address or any(inner.startswith(f"{node.address}/") for inner in failed):
            continue
        if (why := _not_made_again(node.layer, objects, safe_mode=safe_mode)) is not None:
            failed.append(node.address)
            yield node.address, type(node.layer).__name__, why


def _not_made_again(layer: Any, objects: Mapping[str, Any], *, safe_mode: bool) -> str | None:
    try:
        with warnings.catch_warnings(), in_safe_mode(safe_mode):
            warnings.simplefilter("ignore")
            data = keras.saving.serialize_keras_object(layer)
            keras.saving.deserialize_keras_object(data, custom_objects=dict(objects), safe_mode=safe_mode)
    except Exception as error:  # whatever the code of a layer raises is the answer
        text = " ".join(text_of(error).rpartition("Exception encountered: ")[2].split())
        return f"{type(error).__name__}: {text.split('. ')[0][:200]}"
    return None


def _require_same_values(path: Path, model: Any, again: Any) -> None:
    before, after = _values(model), _values(again)
    different = [f.address for f in compare(before, after, (), (), {}).findings if f.violation]
    different += [a for a in before if a in after and not before[a].same_values(after[a])]
    if different:
        raise ModelFileError(
            f"{str(path)!r} holds other values than the model that was written to it",
            received=f"{listed(dict.fromkeys(different))} differ or are missing",
            expected="layers whose weights Keras writes and reads",
            remedy="add the weights of a custom layer in __init__ or build, under names of their own",
        )


def _values(model: Any) -> Fingerprint:
    return fingerprint_of(inventory(model).of_role("weight", "statistic"))
