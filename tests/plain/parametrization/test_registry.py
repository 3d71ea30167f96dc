"""Each parametrization says its settings, is made of them again, and is the same by them alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import frostline as fl
from frostline.errors import ParametrizationError
from frostline.parametrization.arguments import data_of_part
from frostline.parametrization.base import same_settings
from frostline.parametrization.registry import BY_NAME

MASK = np.array([[True, False, True], [False, False, True]])
PACKED = {"shape": [2, 3], "bits": "eJxbAgAApQCl"}

# Of each kind: one, its settings, and what stands of it in a plan file.
EVERY: dict[str, tuple[fl.Parametrization, dict[str, Any], dict[str, Any]]] = {
    "rows": (fl.Rows(slice(3, None)), {"rows": "3:"}, {"rows": "3:"}),
    "columns": (fl.Columns([7, 3]), {"columns": [7, 3]}, {"columns": [7, 3]}),
    "index": (fl.Index((slice(2), 1)), {"index": [":2", 1]}, {"index": [":2", 1]}),
    "mask": (fl.Mask(MASK), {"mask": MASK}, {"mask": PACKED}),
    "low_rank": (
        fl.LowRank(4, 8.0),
        {"rank": 4, "alpha": 8.0, "seed": None},
        {"via": {"LowRank": {"rank": 4, "alpha": 8.0}}},
    ),
    "scale": (fl.Scale(0), {"axis": 0}, {"via": {"Scale": {"axis": 0}}}),
}


class Made(fl.Parametrization):
    """What tests of settings need no more of."""

    def start(self, weight: Any) -> Any:
        raise NotImplementedError

    def combine(self, base: Any, parts: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Shift(Made):
    by: tuple[int, ...] = (1, 2)


class Silent(Made):
    def __init__(self, by: int) -> None:
        self.by = by


def test_every_kind_is_here() -> None:
    assert {name: type(one) for name, (one, *_) in EVERY.items()} == BY_NAME


@pytest.mark.parametrize("name", EVERY)
def test_settings_make_the_same_again(name: str) -> None:
    one, config, in_plan = EVERY[name]
    np.testing.assert_equal(one.get_config(), config)
    assert data_of_part(one) == in_plan
    again = type(one).from_config(one.get_config())
    assert again == one and again is not one and hash(again) == hash(one)
    assert all(other != one for other, *_ in EVERY.values() if other is not one)


def test_a_dataclass_says_its_fields() -> None:
    assert Shift().get_config() == {"by": (1, 2)}
    from_file = Shift.from_config(json.loads(json.dumps(Shift().get_config())))
    assert from_file == Shift() != Shift((2, 1))
    assert same_settings(from_file, Shift()) and not same_settings(Made(), Shift())


def test_a_class_without_arguments_has_no_settings() -> None:
    assert Made().get_config() == {} and Made() == Made.from_config({})


def test_what_does_not_say_its_settings_is_the_same_as_itself_alone() -> None:
    one = Silent(1)
    assert one == one and one != Silent(1)
    with pytest.raises(ParametrizationError) as refused:
        one.get_config()
    assert str(refused.value) == (
        "Silent does not return its settings.\n"
        "  expected: a dataclass, or a method get_config\n"
        "  fix:      let get_config return the arguments of __init__ by name"
    )
