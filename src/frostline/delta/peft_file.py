"""The two files of a PEFT adapter: what stands in them, and what of it can be used."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.errors import DeltaError, listed
from frostline.files.atomic import write_atomically
from frostline.files.json_text import parsed_json
from frostline.files.reading import read_bytes, read_text
from frostline.files.sealed import SEAL, BrokenSealError
from frostline.files.tensor_file import Array, metadata_of, packed_and_sealed, require_seal, unpacked
from frostline.verification.digest import is_finite

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_READ = "frostline_config"
"""In the header of the tensors: what the config must say, since that has no room for a digest."""
_READ_KEYS = ("peft_type", "r", "rank_pattern", "lora_alpha", "alpha_pattern", "use_rslora")
_DTYPES = ("float64", "float32", "float16", "bfloat16")


def write(
    place: Path,
    tensors: Mapping[str, Array],
    ranks: Mapping[str, int],
    alphas: Mapping[str, float],
    base_model: str | None,
) -> None:
    """Write both files.

    Args:
        place: The folder; it is made if need be.
        tensors: By their names in the file.
        ranks: The rank of each module.
        alphas: The `lora_alpha` of each module.
        base_model: The name of the base model.

    Raises:
        DeltaError: They cannot be written.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise DeltaError(f"cannot make the folder {str(place)!r}: {problem.strerror}") from None
    config = _config(ranks, alphas, base_model)
    metadata = {"format": "pt", _READ: json.dumps({key: config[key] for key in _READ_KEYS})}
    write_atomically(place / WEIGHTS, packed_and_sealed(tensors, metadata), DeltaError)
    write_atomically(place / CONFIG, (json.dumps(config, indent=2) + "\n").encode(), DeltaError)


def read_config(place: Path) -> dict[str, Any]:
    """Read the config of an adapter.

    Raises:
        DeltaError: It is not LoRA, holds more than that, or does not say a number by which to scale it.
    """
    text = read_text(place / CONFIG, DeltaError, "adapter config")
    try:
        config = parsed_json(text)
        kind, rank = config.get("peft_type"), config.get("r")
    except (ValueError, AttributeError) as problem:
        raise DeltaError(
            f"{str(place / CONFIG)!r} is not the JSON of an adapter",
            received=str(problem) if isinstance(problem, ValueError) else "JSON that is not a mapping",
            expected="the config that PEFT writes beside an adapter",
        ) from None
    refused = {
        "use_dora": bool(config.get("use_dora")),
        "bias": config.get("bias", "none") != "none",
        "modules_to_save": bool(config.get("modules_to_save")),
        "trainable_token_indices": bool(config.get("trainable_token_indices")),
    }
    if kind != "LORA" or not isinstance(rank, int):
        raise DeltaError(
            f"the adapter in {str(place)!r} is not LoRA", received=f"peft_type {kind!r}", expected="'LORA'"
        )
    if any(refused.values()):
        raise DeltaError(
            f"the adapter in {str(place)!r} holds more than LoRA",
            received=listed(f"{key}={config[key]!r}" for key, found in refused.items() if found),
            expected="low-rank factors only",
        )
    _require_scales(config, place)
    return dict(config)


def read_tensors(place: Path, config: Mapping[str, Any]) -> dict[str, Array]:
    """Read the tensors of an adapter.

    Those that Frostline exported have a digest of every byte, and say what the config must be. Those that
    PEFT wrote have none: their dtypes and values are held against what an adapter can have.

    Args:
        place: The folder.
        config: What `read_config` returned.

    Raises:
        DeltaError: They cannot be read, were altered, or do not belong to the config.
    """
    path = place / WEIGHTS
    try:
        raw = read_bytes(path, DeltaError, "adapter")
        tensors, metadata = unpacked(raw), metadata_of(raw)
        if SEAL in metadata or _READ in metadata:
            require_seal(raw)
            _require_config(config, parsed_json(metadata[_READ]), place)
    except (BrokenSealError, KeyError):
        raise DeltaError(
            f"{str(path)!r} is damaged, or was altered after it was written",
            received="its contents do not have the digest that stands in it",
            expected="what frostline.export_peft wrote",
            remedy="copy it again, or export it again",
        ) from None
    except ValueError as problem:
        raise DeltaError(f"{str(path)!r} cannot be read: {problem}") from None
    _require_numbers(tensors, path)
    return tensors


def rank_of(config: Mapping[str, Any], module: str) -> Any:
    """Return the rank that the config of an adapter says for a module."""
    return _pattern(config.get("rank_pattern"), module, config["r"])


def scale_of(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return what the update of a module is multiplied by."""
    alpha = float(_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", rank)))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _config(ranks: Mapping[str, int], alphas: Mapping[str, float], base_model: str | None) -> dict[str, Any]:
    rank, alpha = (Counter(found.values()).most_common(1)[0][0] for found in (ranks, alphas))
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base_model,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": _whole(alpha),
        "lora_dropout": 0.0,
        "target_modules": list(ranks),
        "rank_pattern": {name: n for name, n in ranks.items() if n != rank},
        "alpha_pattern": {name: _whole(n) for name, n in alphas.items() if n != alpha},
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "init_lora_weights": True,
    }


def _require_config(config: Mapping[str, Any], exported: Mapping[str, Any], place: Path) -> None:
    """Check that a config still says what the adapter was exported with."""
    other = [key for key in _READ_KEYS if config.get(key) != exported[key]]
    if other:
        raise DeltaError(
            f"{str(place / CONFIG)!r} is not the config that the adapter in {WEIGHTS} was exported with",
            received=listed(f"{key}: {json.dumps(config.get(key))}" for key in other),
            expected=listed(f"{key}: {json.dumps(exported[key])}" for key in other),
            remedy="copy both files again, or export the adapter again",
        )


def _require_numbers(tensors: Mapping[str, Array], path: Path) -> None:
    """Check what a file without a digest cannot hide: factors are finite floating-point numbers."""
    other = [f"{name}: {a.dtype.name}" for name, a in tensors.items() if a.dtype.name not in _DTYPES]
    if not other:
        other = [f"{name}: not finite" for name, a in tensors.items() if not is_finite(a)]
    if other:
        raise DeltaError(
            f"{str(path)!r} holds numbers that no adapter has, so it is damaged or was altered",
            received=listed(other, most=3),
            expected=f"finite numbers of dtype {', '.join(_DTYPES)}",
            remedy="copy it again, or export it again",
        )


def _require_scales(config: Mapping[str, Any], place: Path) -> None:
    patterns, ranks = config.get("alpha_pattern"), config.get("rank_pattern")
    if not (ranks is None or isinstance(ranks, Mapping)):
        raise DeltaError(
            f"the config of the adapter in {str(place)!r} has an invalid rank_pattern",
            received=json.dumps(ranks),
            expected="a rank for each module that it names",
        )
    wrong = {} if patterns is None or isinstance(patterns, Mapping) else {"alpha_pattern": patterns}
    said = {"lora_alpha": config["lora_alpha"]} if "lora_alpha" in config else {}
    if isinstance(patterns, Mapping):
        said |= {f"alpha_pattern of {module!r}": alpha for module, alpha in patterns.items()}
    wrong |= {key: alpha for key, alpha in said.items() if not _is_number(alpha)}
    if wrong:
        raise DeltaError(
            f"the config of the adapter in {str(place)!r} has an invalid lora_alpha or alpha_pattern",
            received=listed(f"{key}: {json.dumps(value)}" for key, value in wrong.items()),
            expected="a number as lora_alpha, and for each module that alpha_pattern names",
            remedy=f"write the lora_alpha that the adapter was trained with into {CONFIG}",
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(number: float) -> float:
    return int(number) if float(number).is_integer() else number


def _pattern(patterns: Mapping[str, Any] | None, module: str, otherwise: Any) -> Any:
    """Return what a pattern of PEFT's config says of a module: by its name, or by the end of it."""
    for key, value in (patterns or {}).items():
        if module == key or module.endswith(f".{key}"):
            return value
    return otherwise
