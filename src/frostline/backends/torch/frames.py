"""Who called a PyTorch function: the user's line, and what stands between it and PyTorch."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import keras
import numpy as np
import torch

from frostline.graph.ir import Where
from frostline.graph.source_lines import is_user_file, run_user_code
from frostline.graph.watch import is_layer_call

_ENTRY = run_user_code.__code__
_APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]


def _folders(file: str, *parts: str) -> Iterator[str]:
    """Yield the folder of a file, and one in it, as code objects may spell it: through links, and without."""
    for path in (Path(file), Path(file).resolve()):
        yield f"{path.parent.joinpath(*parts)}/"


_BENEATH = tuple(one for file in (__file__, _ENTRY.co_filename, torch.__file__) for one in _folders(file))
_OPERATIONS = tuple(one for part in ("ops", "backend") for one in _folders(keras.__file__, "src", part))

_LIBRARY, _BELOW, _USER, _LAYER, _END = range(5)
_kinds: dict[CodeType, int] = {_ENTRY: _END}
"""Whose a function is: a library's, PyTorch's or Frostline's, the user's; or it calls a layer or the loss."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The user's call that is running now.

    Attributes:
        frame: The user's innermost frame; None where only libraries run.
        inner: What it called.
        library_function: The innermost function that is neither PyTorch's nor Frostline's.
    """

    frame: FrameType | None
    inner: CodeType | None
    library_function: str

    @classmethod
    def now(cls, of_layers: list[Caller], start: FrameType | None = None) -> Caller:
        """Look at the stack.

        Args:
            of_layers: The callers of the layers that are being called, outermost first. Their part of the
                stack is not walked again.
            start: Where to begin, if not here.
        """
        frame = start or inspect.currentframe()
        inner, library, kinds = None, None, _kinds
        while frame is not None:
            code = frame.f_code
            kind = kinds[code] if code in kinds else _kind_of(code)
            if kind >= _USER:
                break
            if kind == _LIBRARY and library is None:
                library = code
            inner, frame = code, frame.f_back
        name = library.co_name if library else ""
        if frame is None or kind == _END:
            return cls(None, inner, name)
        if kind == _LAYER:
            return cls(of_layers[-1].frame, of_layers[-1].inner, name)
        return cls(frame, inner, name)

    @property
    def where(self) -> Where | None:
        """The user's line."""
        frame = self.frame
        return Where(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) if frame else None

    @property
    def of_custom_function(self) -> Where | None:
        """The user's line that called the custom `torch.autograd.Function` which is running, if one is."""
        frame = self.frame
        while frame is not None and frame.f_code not in (_APPLY, _ENTRY):
            frame = frame.f_back
        if frame is None or frame.f_code is _ENTRY:
            return self.where
        while frame is not None and _kind_of(frame.f_code) not in (_USER, _END):
            frame = frame.f_back
        return None if frame is None or frame.f_code is _ENTRY else Caller(frame, None, "").where

    def computed(self, given: Any) -> bool:
        """Whether a call was given arrays, or numbers that the user's code computed: not its literals.

        Numbers that a library gives itself, such as the epsilon of a layer, do not count either.
        """
        values = _from_python(given)
        if any(isinstance(value, np.ndarray) for value in values):
            return True
        inner = self.inner.co_filename if self.inner else ""
        if self.frame is None or not (inner == "" or inner.startswith((*_BENEATH, *_OPERATIONS))):
            return False
        literals = _from_python(self.frame.f_code.co_consts)
        return any(value not in literals for value in values)


def _kind_of(code: CodeType) -> int:
    if code not in _kinds:
        file = code.co_filename
        if is_layer_call(code):
            _kinds[code] = _LAYER
        elif is_user_file(file):
            _kinds[code] = _USER
        else:
            _kinds[code] = _BELOW if file.startswith(_BENEATH) else _LIBRARY
    return _kinds[code]


def _from_python(nest: Any) -> list[Any]:
    if isinstance(nest, tuple | list):
        return [value for part in nest for value in _from_python(part)]
    if isinstance(nest, dict):
        return _from_python(list(nest.values()))
    is_value = isinstance(nest, numbers.Real | np.ndarray) and not isinstance(nest, bool)
    return [nest] if is_value else []
