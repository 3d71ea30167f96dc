"""Where code comes from, and what it reads that is not part of the program."""

from __future__ import annotations

from typing import Any

import pytest

from frostline.model.code_identity import Description
from frostline.model.code_origin import is_library, is_own, read_outside


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import os\ndef loss(t):\n    return t * float(os.environ['R'])\n", "environment variables"),
        ("import os\ndef loss(t):\n    return t * float(os.getenv('R'))\n", "environment variables"),
        ("from os import getenv\ndef loss(t):\n    return t * float(getenv('R'))\n", "environment variables"),
        (
            "from os import environ as e\ndef loss(t):\n    return t * float(e['R'])\n",
            "environment variables",
        ),
        ("def loss(t):\n    return t * float(open('rate.txt').read())\n", "files"),
        ("from pathlib import Path\ndef loss(t):\n    return t * float(Path('r').read_text())\n", "files"),
        ("import numpy as np\ndef loss(t):\n    return t * np.loadtxt('r')\n", "files"),
        ("import numpy as np\ndef loss(t):\n    return t * np.exp(t)\n", ""),
        ("import os\ndef loss(t):\n    return os.path.join('a', 'b')\n", ""),
        ("def open(t):\n    return t\ndef loss(t):\n    return open(t)\n", ""),
    ],
)
def test_what_comes_from_outside_the_program_is_noted(source: str, what: str) -> None:
    names: dict[str, Any] = {"__name__": "program"}
    exec(source, names)
    expected = [f"the {what} that it reads"] if what else []
    assert read_outside(names["loss"].__code__, names) == expected
    known = Description()
    known.of(names["loss"], "loss")
    assert [one for one in known.not_compared if "that it reads" in one] == [f"loss: {o}" for o in expected]


@pytest.mark.parametrize(
    ("module", "library", "own"),
    [("keras.layers", True, False), ("json", True, False), (None, True, False), ("rich.text", False, False)],
)
def test_packages_are_not_the_users(module: str | None, library: bool, own: bool) -> None:
    if module != "keras.layers":  # known by its name alone; there is no backend here
        __import__(module or "builtins")
    assert (is_library(module), is_own(module)) == (library, own)


def test_a_program_is_the_users() -> None:
    assert is_own(__name__)
