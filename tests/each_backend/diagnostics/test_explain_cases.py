"""Every case of `tests/cases` through `fl.explain`: status, reasons, marked line. See `case_files`."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

import frostline as fl
from helpers import case_files

pytestmark = pytest.mark.every_backend


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.parametrize("name", case_files.names())
def test_case(name: str) -> None:
    case = case_files.load(name)
    loss, variables = case.question()

    answer = fl.explain(loss, variables)

    assert {n: one.status for n, one in answer.items()} == {n: e[0] for n, e in case.expect.items()}
    for variable, (status, *reasons) in case.expect.items():
        one = answer[variable]
        assert {cut.reason for cut in one.cuts} == set(reasons)
        if status == "cut":
            require_marked(case, variable, one)
        if one.status not in ("trains", "frozen"):
            assert one.remedy
        assert one.route[0].name == variable
    assert any("raises an error" in note for note in answer.notes) == raises(case)


def raises(case: case_files.Case) -> bool:
    # JAX has no way to go on with a value that left it.
    left = any("left_framework" in reasons for _, *reasons in case.expect.values())
    return bool(case.option("RAISES")) or (left and keras.backend.backend() == "jax")


def require_marked(case: case_files.Case, variable: str, one: fl.Explanation) -> None:
    """The cuts are at the marked lines, all of them, and of the expected operation and layer."""
    marked = case.lines_for(variable)
    if case.option("PLACED", True):
        assert {cut.where.line for cut in one.cuts if cut.where} == marked
        assert all(cut.where is not None for cut in one.cuts)
        assert {Path(cut.where.file).stem for cut in one.cuts if cut.where} == {case.name}
        for line in marked:
            assert any(cut.where and cut.where.line == line and cut.where.source for cut in one.cuts)
    else:
        assert not marked
    if operation := case.option("OPERATION"):
        assert {cut.operation for cut in one.cuts} == {operation}
    if layer := case.option("LAYER"):
        assert {(cut.layer or "").rpartition("/")[2] for cut in one.cuts} == {layer}
