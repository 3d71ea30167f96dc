"""Who called a PyTorch function: the user's line, and what stands between it and PyTorch."""

from __future__ import annotations

import inspect
import numbers
import os
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import keras
import numpy as np
import torch

from frostline.graph.ir import Where
from frostline.graph.places import computed_for_frostline, is_users

_ENTRY = computed_for_frostline.__code__
_APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]
_BENEATH = tuple(os.path.dirname(os.path.abspath(path)) + os.sep for path in (__file__, torch.__file__))
_KERAS = os.path.dirname(os.path.abspath(keras.__file__))
_OPERATIONS = tuple(os.path.join(_KERAS, "src", part) + os.sep for part in ("ops", "backend"))

_LIBRARY, _PYTORCH, _USER, _END = range(4)
_kinds: dict[CodeType, int] = {_ENTRY: _END}
"""What a function is: the user's own, PyTorch's or Frostline's, another library's, or where Frostline began."""


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
    def now(cls) -> Caller:
        """Look at the stack."""
        frame = inspect.currentframe()
        inner, innermost, kinds = None, None, _kinds
        while frame is not None:
            code = frame.f_code
            kind = kinds[code] if code in kinds else _kind_of(code)
            if kind == _USER:
                return cls(frame, inner, innermost.co_name if innermost else "")
            if kind == _END:
                break
            if kind == _LIBRARY and innermost is None:
                innermost = code
            inner, frame = code, frame.f_back
        return cls(None, inner, innermost.co_name if innermost else "")

    @property
    def where(self) -> Where | None:
        """The user's line."""
        return _where(self.frame)

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
        return None if frame is None or frame.f_code is _ENTRY else _where(frame)

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
        return any(value not in self.frame.f_code.co_consts for value in values)


def _kind_of(code: CodeType) -> int:
    if code not in _kinds:
        if is_users(code.co_filename):
            _kinds[code] = _USER
        else:
            _kinds[code] = _PYTORCH if code.co_filename.startswith(_BENEATH) else _LIBRARY
    return _kinds[code]


def _where(frame: FrameType | None) -> Where | None:
    return Where(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) if frame else None


def _from_python(nest: Any) -> list[Any]:
    if isinstance(nest, tuple | list):
        return [value for part in nest for value in _from_python(part)]
    if isinstance(nest, dict):
        return _from_python(list(nest.values()))
    is_value = isinstance(nest, numbers.Real | np.ndarray) and not isinstance(nest, bool)
    return [nest] if is_value else []
