"""What a run is made of, as plain data: the configuration and the code of model, compilation and data.

Beside the weights, their values and the plan, which `identity` looks at. Where a part has no configuration,
its attributes stand for it; what cannot be told is noted.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from frostline._keras.layers import sublayers
from frostline._keras.optimizers import optimizer_chain, rate_schedule
from frostline._keras.trainers import compile_arguments
from frostline._keras.variables import to_numpy
from frostline.errors import said
from frostline.model.code_identity import (
    Description,
    array_data,
    digest_of,
    is_torch_module,
)
from frostline.model.code_origin import is_own
from frostline.model.inventory import Inventory
from frostline.model.members import own_attributes
from frostline.training.resume.pipelines import pipeline_data

_PARTS = (
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.dtype_policies.DTypePolicy,
    keras.Operation,
)
_UNTOLD = {"name", "trainable", "layers", "input_layers", "output_layers", "build_config", "registered_name"}
"""Keys of a configuration that say nothing of what is computed, or that other places here say better.

Flags are the plan's, names of layers are their addresses.
"""
_OF_KERAS = {
    "history",
    "name",
    "built",
    "loss",
    "stop_training",
    "_compile_config",
    "call_signature_parameters",
}
_NUMBER = re.compile(r"_\d+$")


def configuration(model: Any, inventory: Inventory, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is made of.

    Args:
        model: The compiled model.
        inventory: Its layers by address.
        data: What it is trained on, by the names of the arguments of `fit`.

    Returns:
        `parts`, `layers` (their addresses, in order) and `not compared`.
    """
    describing = _Configurations(model, inventory)
    parts = {
        **describing.layers(),
        **describing.compilation(),
        **describing.data(data),
    }
    layers = [node.address or "the model" for node in inventory.layers]
    return {"parts": parts, "layers": layers, "not compared": describing.known.not_compared}


class _Configurations:
    """Describes the parts of one run.

    Args:
        model: The compiled model.
        inventory: Its layers by address.
    """

    def __init__(self, model: Any, inventory: Inventory) -> None:
        self._model = model
        self._nodes = {node.address: node.layer for node in inventory.layers}
        self._addresses = {id(layer): address for address, layer in self._nodes.items()} | {id(model): ""}
        held: list[Any] = [getattr(layer, "module", None) for layer in self._nodes.values()]
        self._wrapped = {id(m) for one in held if is_torch_module(one) for m in one.modules()}
        self._inside = {id(one) for layer in self._nodes.values() for one in _operations(layer)}
        self.known = Description(self._special)

    def layers(self) -> dict[str, Any]:
        """Describe the model and all its layers, each by its address."""
        found = {}
        for address, layer in {"": self._model, **self._nodes}.items():
            at = address or "the model"
            found[at] = {**self._of_keras(layer, at), **self._graph(layer, at)}
        return found

    def compilation(self) -> dict[str, Any]:
        """Describe what the model was compiled with."""
        model = self._model
        given = compile_arguments(model)
        if not given:
            given = {"loss": getattr(model, "loss", None), "jit_compile": model.jit_compile}
            given["steps_per_execution"] = model.steps_per_execution
        given = {name: one for name, one in given.items() if name != "optimizer"}
        optimizers = {f"optimizer{n or ''}": one for n, one in enumerate(optimizer_chain(model.optimizer))}
        return self.known.items(sorted({**given, **optimizers}.items()), "")

    def data(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Describe the sources of data that are not arrays; digests tell of those."""
        found = {}
        for argument, value in data.items():
            for path, one in keras.tree.flatten_with_path(value):
                if one is None or keras.ops.is_tensor(one) or hasattr(one, "__array__"):
                    continue
                name = "/".join((argument, *map(str, path)))
                found[name] = self._source(one, name)
        return found

    def _source(self, source: Any, at: str) -> Any:
        if hasattr(source, "digest_of_content"):
            return {"class": type(source).__name__}
        known = pipeline_data(source, self.known, at)
        return self.known.of(source, at) if known is None else known

    def _special(self, value: Any, known: Description, at: str) -> Any:
        if isinstance(value, type):
            return NotImplemented
        if id(value) in self._addresses:
            return {"layer": self._addresses[id(value)] or "the model"}
        if isinstance(value, keras.Variable):
            kind = f"{value.dtype} {tuple(value.shape)}"
            return {"variable": kind, "value": known.gap(at, "the value of a variable")}
        if isinstance(value, keras.random.SeedGenerator):
            return {"class": "SeedGenerator"}
        if isinstance(value, keras.layers.Layer):
            return self._beside_the_model(value, at)
        if id(value) in self._wrapped:
            return known.torch_module(value, at, values=False)
        if isinstance(value, _PARTS):
            return self._of_keras(value, at)
        pipeline = pipeline_data(value, known, at)
        return NotImplemented if pipeline is None else pipeline

    def _beside_the_model(self, layer: Any, at: str) -> dict[str, Any]:
        """Describe a layer that is not part of the model, such as a teacher that a loss calls."""
        within = {f"layer {n} {_NUMBER.sub('', one.name)}": one for n, one in enumerate(_within(layer))}
        values = [array_data(to_numpy(one)) for one in layer.weights]
        return {
            **self._of_keras(layer, at),
            **self._graph(layer, at),
            **{name: self._of_keras(one, f"{at}/{name}") for name, one in within.items()},
            "weights": digest_of(values),
        }

    def _of_keras(self, part: Any, at: str) -> dict[str, Any]:
        """Describe an object of Keras: its class, its configuration, and what a class of the user's adds."""
        kind, known = type(part), self.known
        found: dict[str, Any] = {"class": known.of(kind, at)}
        config = _config(part, lambda why: known.gap(at, why))
        if config is None:
            config = {n: one for n, one in vars(part).items() if not n.startswith("_")}
            config = {n: one for n, one in config.items() if self._is_setting(n, one)}
            if not is_own(kind.__module__) and not config:
                known.gap(at, f"the settings of {kind.__name__}, which has no configuration")
        if id(module := getattr(part, "module", None)) in self._wrapped:
            config["module"] = module  # where Keras has a text of all that it holds, the weights among it
        optimizer = isinstance(part, keras.optimizers.Optimizer)
        for name, value in sorted(config.items()):
            if name in _UNTOLD or (optimizer and name in ("learning_rate", "inner_optimizer")):
                continue
            found[name] = known.of(_behind(part, name, value), f"{at}/{name}" if at else name)
        if isinstance(part, keras.metrics.Metric | keras.losses.Loss):
            found["name"] = _NUMBER.sub("", part.name or "")
        if optimizer:
            found |= self._rate(part, at)
        if is_own(kind.__module__) or isinstance(part, keras.Model):
            own = own_attributes(part)
            added = [(n, one) for n, one in own if n not in found and self._is_setting(n, one)]
            found |= known.items(added, at)
        return found

    def _rate(self, optimizer: Any, at: str) -> dict[str, Any]:
        """Describe a schedule of the rate. A number is not part of a run: callbacks change it."""
        rate = rate_schedule(optimizer)
        if rate is None:
            return {}
        return {"learning_rate": self.known.of(rate, f"{at}/learning_rate")}

    def _is_setting(self, name: str, value: Any) -> bool:
        """Whether an attribute may say what a layer computes, and is not what it holds or training leaves."""
        if name in _OF_KERAS or name.startswith(("_frostline", "__")) or id(value) in self._inside:
            return False
        if isinstance(value, keras.Variable | keras.layers.Layer | keras.metrics.Metric | keras.KerasTensor):
            return False
        if isinstance(
            value, keras.random.SeedGenerator | keras.optimizers.Optimizer | keras.callbacks.History
        ):
            return False
        if _replaced_by_frostline(value):
            return False
        flat = _members(value)
        return not flat or any(self._is_setting("", one) for one in flat)

    def _graph(self, model: Any, at: str) -> dict[str, Any]:
        """Describe how the operations of a graph are connected, and those of them that are not layers."""
        config = (
            _config(model, lambda why: self.known.gap(at, why))
            if getattr(model, "operations", None)
            else None
        )
        if not config or "layers" not in config:
            return {}
        numbers = {one.get("name"): number for number, one in enumerate(config["layers"])}
        found: dict[str, Any] = {}
        operations = {one.name: one for one in model.operations}
        for name, one in zip(numbers, config["layers"], strict=False):
            label = f"{numbers[name]} {_NUMBER.sub('', str(name))}"
            operation = operations.get(name)
            if operation is not None and id(operation) not in self._addresses:
                found[f"operation {label}"] = self._of_keras(operation, at)
            found[f"inputs of {label}"] = _numbered(one.get("inbound_nodes"), numbers)
        ends = [_numbered(config.get(name), numbers) for name in ("input_layers", "output_layers")]
        return {**found, "inputs and outputs": ends}


def _config(part: Any, gap: Callable[[str], Any]) -> dict[str, Any] | None:
    """Return the configuration of a part; None where it has none, or fails to give it.

    Args:
        part: The part.
        gap: Is told why there is none, where a method failed.
    """
    get = getattr(part, "get_config", None)
    if get is None:
        return None
    try:
        with warnings.catch_warnings():
            # Keras warns of each lambda.
            warnings.simplefilter("ignore")
            config = get()
    except NotImplementedError:
        return None  # what Keras says of a class that gives none: its attributes tell
    except Exception as error:
        # A method of the user's may fail in any way. Attributes tell what they can.
        gap(f"the configuration of {type(part).__name__}: get_config raises {said(error)}")
        return None
    return dict(config) if isinstance(config, Mapping) else None


def _behind(part: Any, name: str, value: Any) -> Any:
    """Return what an entry of a configuration stands for: code of the user's, where it only names that.

    Of a class of the user's the attribute tells: Keras writes down the default of an argument that was given
    by its place.
    """
    for attribute in (name, f"_{name}"):
        held = vars(part).get(attribute)
        if held is None or held is value or isinstance(held, keras.Variable | keras.layers.Layer):
            continue
        module = getattr(held if hasattr(held, "__qualname__") else type(held), "__module__", None)
        told = callable(held) or hasattr(held, "get_config")
        if (told and is_own(module)) or is_own(type(part).__module__):
            return held
    return value


def _within(layer: Any) -> list[Any]:
    """Return all layers in a layer, each once."""
    found: dict[int, Any] = {}
    waiting = sublayers(layer)
    while waiting:
        one = waiting.pop(0)
        if id(one) not in found:
            found[id(one)] = one
            waiting += sublayers(one)
    return list(found.values())


def _operations(layer: Any) -> Iterable[Any]:
    return getattr(layer, "operations", None) or ()


def _replaced_by_frostline(value: Any) -> bool:
    return hasattr(value, "frostline_makers")


def _members(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def _numbered(value: Any, numbers: Mapping[Any, int]) -> Any:
    """Return connections with the places of layers for their names, and without the tensors' shapes."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            return {"from": _numbered(value["config"]["keras_history"], numbers)}
        return {str(key): _numbered(one, numbers) for key, one in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_numbered(one, numbers) for one in value]
    if isinstance(value, str) and value in numbers:
        return f"layer {numbers[value]}"
    return value if value is None or isinstance(value, str | int | float | bool) else repr(type(value))
