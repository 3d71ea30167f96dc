"""Reads the cases of `tests/cases`: which weight gets a gradient, and which line cuts one off.

A case is a module with

- `EXPECT`: for each variable, by name, its status; or `("cut", reason, ...)` with all the reasons.
- `case()`: returns a loss function without arguments and its variables, as `fl.explain` takes them; or
  `model()`: returns a model, its input and its target. Its loss is the mean squared error, or
  `loss(y, predicted)` of the module.
- `# cut` at the end of each line that cuts a gradient off; `# cut NAME` if it cuts off only that variable.

and, if need be, `OPERATION` and `LAYER` (of the cuts), `BACKENDS` (the only ones it runs on), `EXPECT_ON` (by
backend, what differs there), `RAISES` (the framework raises when asked for the gradients), `PLACED = False`
(no line of the case leads to the cut).
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras
from keras import ops

import frostline as fl
from helpers.folders import CASES

_MARK = re.compile(r"# cut(?: (\S+))?$")


@dataclass(frozen=True)
class Case:
    """One case, loaded."""

    name: str
    module: ModuleType
    marks: dict[int, str | None]
    """By line: the one variable that it cuts off, or None for all."""

    @property
    def expect(self) -> dict[str, tuple[str, ...]]:
        """Status and reasons by the name of the variable, on this backend."""
        plain = self.module.EXPECT | self.option("EXPECT_ON", {}).get(keras.backend.backend(), {})
        return {name: (one,) if isinstance(one, str) else one for name, one in plain.items()}

    def option(self, name: str, default: Any = None) -> Any:
        return getattr(self.module, name, default)

    def lines_for(self, variable: str) -> set[int]:
        """The lines that cut this variable off."""
        return {line for line, only in self.marks.items() if only in (None, variable)}

    def question(self) -> tuple[Callable[..., Any], Any]:
        """The loss function and the variables, for `fl.explain`."""
        if hasattr(self.module, "case"):
            return self.module.case()
        model, x, y = self.module.model()
        loss = self.option("loss", lambda y, predicted: ops.mean((y - predicted) ** 2))
        held = fl.inventory(model).of_role("weight")
        return lambda: loss(y, model(x, training=True)), {w.address: w.variable for w in held}


def names() -> list[str]:
    """The names of the cases that run on this backend."""
    found = []
    for path in sorted(CASES.glob("*.py")):
        only = re.search(r"^BACKENDS = \((.*)\)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if only is None or f'"{keras.backend.backend()}"' in only[1]:
            found.append(path.stem)
    return found


def load(name: str) -> Case:
    """Run the file of a case, and find its marks."""
    path = CASES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"frostline_case_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    keras.utils.set_random_seed(0)
    spec.loader.exec_module(module)
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    marks = {line: found[1] for line, text in lines if (found := _MARK.search(text))}
    return Case(name, module, marks)
