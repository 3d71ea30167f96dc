"""The two files of a PEFT adapter: what stands in them, and what of it can be used."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.errors import DeltaError, listed
from frostline.files.atomic import read_text, write_atomically
from frostline.files.tensor_file import Array, packed, unpacked

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


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
    write_atomically(place / WEIGHTS, packed(tensors, {"format": "pt"}), DeltaError)
    config = json.dumps(_config(ranks, alphas, base_model), indent=2) + "\n"
    write_atomically(place / CONFIG, config.encode(), DeltaError)


def read_config(place: Path) -> dict[str, Any]:
    """Read the config of an adapter.

    Raises:
        DeltaError: It is not LoRA, holds more than that, or does not say a number by which to scale it.
    """
    text = read_text(place / CONFIG, DeltaError, "adapter config")
    try:
        config = json.loads(text)
        kind, rank = config.get("peft_type"), config.get("r")
    except (ValueError, AttributeError):
        raise DeltaError(f"{str(place / CONFIG)!r} is not the JSON of an adapter") from None
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


def read_tensors(place: Path) -> dict[str, Array]:
    """Read the tensors of an adapter.

    Raises:
        DeltaError: They cannot be read.
    """
    try:
        return unpacked((place / WEIGHTS).read_bytes())
    except OSError as problem:
        raise DeltaError(f"{str(place / WEIGHTS)!r} cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise DeltaError(f"{str(place / WEIGHTS)!r} cannot be read: {problem}") from None


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


def _require_scales(config: Mapping[str, Any], place: Path) -> None:
    patterns = config.get("alpha_pattern")
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
