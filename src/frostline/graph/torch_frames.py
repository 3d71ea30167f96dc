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

_users: dict[CodeType, bool] = {}


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
        inner, innermost = None, ""
        while frame is not None and frame.f_code is not _ENTRY:
            code = frame.f_code
            if not innermost and not code.co_filename.startswith(_BENEATH):
                innermost = code.co_name
            if _is_users(code):
                return cls(frame, inner, innermost)
            inner, frame = code, frame.f_back
        return cls(None, inner, innermost)

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
        inside = frame is not None and frame.f_code is _APPLY
        while inside and frame is not None and not _is_users(frame.f_code):
            frame = None if frame.f_code is _ENTRY else frame.f_back
        return _where(frame if inside else self.frame)

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


def _is_users(code: CodeType) -> bool:
    if code not in _users:
        _users[code] = is_users(code.co_filename)
    return _users[code]


def _where(frame: FrameType | None) -> Where | None:
    return Where(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) if frame else None


def _from_python(nest: Any) -> list[Any]:
    if isinstance(nest, tuple | list):
        return [value for part in nest for value in _from_python(part)]
    if isinstance(nest, dict):
        return _from_python(list(nest.values()))
    is_value = isinstance(nest, numbers.Real | np.ndarray) and not isinstance(nest, bool)
    return [nest] if is_value else []
