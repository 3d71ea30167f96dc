"""What a function, a class or an object is, as plain data that is the same in every process.

Followed are what a function reads: its defaults, its closure, the globals that it names, and what these read;
of classes their methods and values, of objects their attributes. Nothing of it depends on where the code
stands, on memory addresses, or on the order of sets and mappings. Code of Python's own library, of Keras, of
the backends and of this package is known by its name.
"""

from __future__ import annotations

import enum
import functools
import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np
from blake3 import blake3

from frostline.model.code_origin import attribute, file_of, is_library, is_own, own_imports, read_outside
from frostline.model.members import closure, counts_in_class, held_by, members, own_attributes
from frostline.model.syntax import (
    attributes_read,
    code_data,
    globals_read,
    module_data,
)

MOST = 2_000
"""So many functions, classes and objects are looked at; the rest is not compared, and named."""

_DEEPEST = 60

_RANDOM = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator)

Special = Callable[[Any, "Description", str], Any]
"""Describes values that need to be known better; returns `NotImplemented` for all others."""


def name_of(value: Any) -> str:
    """Return the name of a class, a function, or else of the class of an object."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return str(named.__qualname__)


def digest_of(data: Any) -> str:
    """Return a digest of plain data."""
    return blake3(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]


@dataclass
class Description:
    """Describes values as plain data, and remembers which it has seen.

    Attributes:
        special: Looks at each value first.
        not_compared: What could not be told, one phrase each.
    """

    special: Special = lambda value, description, at: NotImplemented
    not_compared: list[str] = field(default_factory=list)
    _seen: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    _depth: int = 0

    def of(self, value: Any, at: str = "") -> Any:
        """Return what a value is.

        Args:
            value: Anything.
            at: Where it was found, in words.
        """
        plain = _plain(value)
        if plain is not NotImplemented:
            return plain
        if self._depth > _DEEPEST or len(self._seen) > MOST:
            return self.gap(at, "beyond what is looked at")
        self._depth += 1
        try:
            return self._known_once(value, at)
        finally:
            self._depth -= 1

    def gap(self, at: str, why: str) -> Any:
        """Note that something is not compared, and return what stands for it."""
        note = f"{at or 'a value'}: {why}"
        if note not in self.not_compared:
            self.not_compared.append(note)
        return {"not compared": why}

    def _known_once(self, value: Any, at: str) -> Any:
        """Describe a value in full where it is met first; behind that, and within itself, only name it."""
        if id(value) in self._seen:
            _, known = self._seen[id(value)]
            if known is None:
                return {"again": name_of(value)}
            return {"as": digest_of(known)} if isinstance(known, dict) and len(known) > 1 else known
        # Kept, so that no other object gets its id.
        self._seen[id(value)] = (value, None)
        found = self.special(value, self, at)
        if found is NotImplemented:
            found = self._described(value, at)
        self._seen[id(value)] = (value, found)
        return found

    def _described(self, value: Any, at: str) -> Any:
        for kinds, name in _KINDS:
            if isinstance(value, kinds):
                return getattr(self, f"_{name}")(value, at)
        if (array := _array(value)) is not None:
            return array_data(array)
        if callable(wrapped := _wrapped(value)):
            return {"wrapper": name_of(type(value)), "function": self.of(wrapped, at)}
        return self._object(value, at)

    def items(self, pairs: Iterable[tuple[str, Any]], at: str) -> dict[str, Any]:
        """Describe named values, each under its name."""
        return {name: self.of(value, f"{at}/{name}" if at else name) for name, value in pairs}

    def _array(self, array: Any, at: str) -> Any:
        return array_data(array)

    def _ufunc(self, function: Any, at: str) -> Any:
        return f"numpy.{function.__name__}"

    def _sequence(self, values: Any, at: str) -> Any:
        return [self.of(one, f"{at}/{number}") for number, one in enumerate(values)]

    def _mapping(self, values: Mapping[Any, Any], at: str) -> Any:
        named = {k if isinstance(k, str) else json.dumps(self.of(k, at)): v for k, v in values.items()}
        return self.items(sorted(named.items()), at)

    def _set(self, values: Any, at: str) -> Any:
        return {"set": sorted((self.of(one, at) for one in values), key=json.dumps)}

    def _module(self, module: ModuleType, at: str) -> Any:
        return {"module": module.__name__}

    def _enum(self, value: enum.Enum, at: str) -> Any:
        return f"{name_of(type(value))}.{value.name}"

    def _partial(self, partial: functools.partial[Any], at: str) -> Any:
        given = [(f"argument {number}", one) for number, one in enumerate(partial.args)]
        given += [(f"argument {name}", one) for name, one in sorted(partial.keywords.items())]
        return {"partial of": self.of(partial.func, at), **self.items(given, at)}

    def _method(self, method: MethodType, at: str) -> Any:
        pairs = [("method", method.__func__), ("of", method.__self__)]
        return self.items(pairs, at)

    def _builtin(self, function: Any, at: str) -> Any:
        module = getattr(function, "__module__", None) or type(getattr(function, "__self__", None)).__module__
        name = f"{module}.{name_of(function)}"
        if not is_library(module):
            return {"name": name, "code": self.gap(at, f"the compiled code of {name}")}
        return name

    def _function(self, function: FunctionType, at: str) -> Any:
        if not is_own(function.__module__):
            # One that was made by another function holds what that was given.
            made = closure(function) if "<locals>" in function.__qualname__ else []
            return _installed(function, **self.items(made, at))
        code = function.__code__
        names = reversed(code.co_varnames[: code.co_argcount])
        defaults = zip(names, reversed(function.__defaults__ or ()), strict=False)
        pairs = [(f"default of {name}", one) for name, one in defaults]
        pairs += [(f"default of {n}", one) for n, one in sorted((function.__kwdefaults__ or {}).items())]
        pairs += closure(function)
        pairs += [
            (f"attribute {name}", one)
            for name, one in sorted(vars(function).items())
            if name != "__wrapped__" and not name.startswith("frostline_")
        ]
        return {**self.code(code, function.__globals__, at), **self.items(pairs, at)}

    def code(self, code: CodeType, names: Mapping[str, Any], at: str) -> dict[str, Any]:
        """Describe code, and what it reads of the globals that it runs with."""
        missing = "nothing of this name"
        builtins = names.get("__builtins__", {})
        builtin = builtins if isinstance(builtins, dict) else vars(builtins)
        wanted = sorted(name for name in globals_read(code) if name in names or name not in builtin)
        pairs = [(f"global {name}", names.get(name, missing)) for name in wanted]
        read = sorted(attributes_read(code))
        # A module may stand in another one, or in itself.
        modules, met = deque(pair for pair in pairs if _is_own_module(pair[1])), set[int]()
        while modules:
            name, module = modules.popleft()
            if id(module) in met:
                continue
            met.add(id(module))
            inside = [(f"{name}.{one}", vars(module)[one]) for one in read if one in vars(module)]
            modules += [pair for pair in inside if _is_own_module(pair[1])]
            pairs += inside
        imported: dict[str, Any] = {}
        for name, file in own_imports(code, str(names.get("__package__") or "")):
            tree = module_data(file)
            told = (
                self.gap(at, f"the code of {name}, imported when it runs") if tree is None else {"tree": tree}
            )
            imported[f"import {name}"] = {"code": told}
        for what in read_outside(code, names):
            self.gap(at, what)
        return {"code": code_data(code), **self.items(pairs, at), **imported}

    def _generator(self, generator: GeneratorType[Any, Any, Any], at: str) -> Any:
        frame = generator.gi_frame
        if frame is None or not is_own(frame.f_globals.get("__name__")):
            return self.gap(at, f"what {name_of(generator)} gives")
        held = [(f"variable {name}", one) for name, one in sorted(frame.f_locals.items())]
        return {**self.code(frame.f_code, frame.f_globals, at), **self.items(held, at)}

    def _class(self, kind: type, at: str) -> Any:
        if not is_own(kind.__module__):
            return _installed(kind)
        bases = [(f"base {base.__name__}", base) for base in kind.__bases__ if base is not object]
        held = [(name, one) for name, one in sorted(vars(kind).items()) if counts_in_class(name, one)]
        return {"class": kind.__name__, **self.items([*bases, *members(held)], at)}

    def _object(self, value: Any, at: str) -> Any:
        kind = type(value)
        if is_torch_module(value):
            return self.torch_module(value, at)
        if not is_own(kind.__module__):
            return self._library_object(value, at)
        described = self.of(kind, at)
        return {"class": described, **self.items(own_attributes(value), at)}

    def torch_module(self, module: Any, at: str, *, values: bool = True) -> dict[str, Any]:
        """Describe a module of PyTorch and all within it.

        Args:
            module: The module.
            at: Where it was found, in words.
            values: Whether its tensors count, and whether it is in training mode.
        """
        found: dict[str, Any] = {}
        for name, one in module.named_modules():
            settings = [(n, v) for n, v in sorted(held_by(one).items()) if not n.startswith("_")]
            if is_own(type(one).__module__):
                settings = own_attributes(one)
            settings = [(n, v) for n, v in settings if n != "training" and _is_no_module(v)]
            if not values:
                settings = [(n, v) for n, v in settings if type(v).__name__ not in ("Tensor", "Generator")]
            place = "/".join((at, *name.split("."))) if name else at
            found[name or "module"] = {"class": self.of(type(one), place), **self.items(settings, place)}
            if values:
                found[name or "module"]["training"] = bool(one.training)
        if values:
            tensors = [*module.named_parameters(), *module.named_buffers()]
            found["tensors"] = self.items(tensors, at)
        return found

    def _library_object(self, value: Any, at: str) -> Any:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        columns = attribute(value, "columns")
        if columns is not None and attribute(value, "to_numpy"):
            return {"class": name, "columns": [str(one) for one in columns], **self._frame(value)}
        text = _safe_repr(value)
        public = [(n, one) for n, one in sorted(held_by(value).items()) if not n.startswith("_")]
        if public:
            return {"class": name, **self.items(public, at)}
        if text is not None and not held_by(value):
            return {"class": name, "text": text}
        return {"class": name, "content": self.gap(at, f"what an object of {name} holds")}

    def _frame(self, value: Any) -> dict[str, Any]:
        return {"values": array_data(value.to_numpy())}

    def _random(self, value: Any, at: str) -> Any:
        state: Any = value.getstate() if isinstance(value, random.Random) else None
        if isinstance(value, np.random.RandomState):
            state = value.get_state(legacy=False)
        if state is None:
            state = (value.bit_generator if isinstance(value, np.random.Generator) else value).state
        return {"class": name_of(type(value)), "state": digest_of(self.of(state, at))}


def _installed(named: Any, **more: Any) -> Any:
    """Describe a function or a class of a package: by its name, and by its file if it is not a known one."""
    name, file = f"{named.__module__}.{named.__qualname__}", file_of(named.__module__)
    if not is_library(named.__module__) and file is not None:
        more = {"file": module_data(file), **more}
    return {"name": name, **more} if more else name


def array_data(array: Any) -> dict[str, Any]:
    """Return what tells an array from another."""
    array = np.asarray(array)
    kind = f"{array.dtype} {tuple(array.shape)}"
    raw = repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes()
    return {"array": kind, "values": blake3(raw).hexdigest()[:32]}


def _plain(value: Any) -> Any:
    """Return a value that is its own description; a longer text or one without JSON's form as such."""
    if isinstance(value, enum.Enum):
        return NotImplemented
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.generic) and value.dtype != object:
        return {"number": f"{value.dtype} {value!s}"}
    if isinstance(value, str | int):
        return str(value) if isinstance(value, str) else int(value)
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else repr(float(value))
    if isinstance(value, bytes | bytearray):
        return {"bytes": blake3(bytes(value)).hexdigest()[:32]}
    if isinstance(value, complex | slice | range | np.dtype) or value is Ellipsis:
        return {"value": repr(value)}
    return NotImplemented


def _array(value: Any) -> Any:
    """Return an array or a tensor as an array; None for what is neither."""
    if isinstance(value, type) or attribute(value, "shape") is None or attribute(value, "dtype") is None:
        return None
    try:
        value = value.detach().cpu() if attribute(value, "detach") else value
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        return None


def _wrapped(value: Any) -> Any:
    """Return the function inside a wrapper such as a cache or a compiled function."""
    if not callable(value) or is_own(type(value).__module__):
        return None
    return attribute(value, "__wrapped__") or attribute(value, "python_function")


def _safe_repr(value: Any) -> str | None:
    text = repr(value)
    return None if " at 0x" in text or len(text) > 2_000 else text


def is_torch_module(value: Any) -> bool:
    """Whether an object is a `torch.nn.Module`; nothing is imported for it."""
    kinds = {(kind.__module__, kind.__name__) for kind in type(value).__mro__}
    return ("torch.nn.modules.module", "Module") in kinds


def _is_no_module(value: Any) -> bool:
    """Whether no module of PyTorch is in a value: those within a module are described beside it."""
    values = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    )
    return not any(map(is_torch_module, (value, *values)))


def _is_own_module(value: Any) -> bool:
    return isinstance(value, ModuleType) and is_own(value.__name__)


_KINDS: tuple[tuple[Any, str], ...] = (
    (np.ndarray, "array"),
    (enum.Enum, "enum"),
    (type, "class"),
    (Mapping, "mapping"),
    (list | tuple | deque, "sequence"),
    (set | frozenset, "set"),
    (ModuleType, "module"),
    (functools.partial, "partial"),
    (MethodType, "method"),
    (FunctionType, "function"),
    (BuiltinFunctionType, "builtin"),
    (np.ufunc, "ufunc"),
    (GeneratorType, "generator"),
    (_RANDOM, "random"),
)
"""Which method of `Description` describes what, in this order: a kind before those that it is one of, too."""
