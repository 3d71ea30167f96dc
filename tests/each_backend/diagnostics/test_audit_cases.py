"""Every case of `tests/cases` that is a model, through `fl.audit` and `fl.why`: status, reasons, line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keras import ops

import frostline as fl
from frostline.diagnostics.inspect_model import inspect_model
from frostline.model.inventory import inventory
from helpers import case_files

pytestmark = pytest.mark.every_backend


def mean_squared(y: Any, predicted: Any) -> Any:
    return ops.mean((y - predicted) ** 2)


def models() -> list[str]:
    """The names of the cases that are models."""
    return [
        n for n in case_files.names() if "def model(" in (case_files.CASES / f"{n}.py").read_text("utf-8")
    ]


@pytest.fixture(params=models())
def case(request: Any) -> case_files.Case:
    return case_files.load(request.param)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_case_by_audit(case: case_files.Case) -> None:
    model, x, y = case.module.model()
    answer = fl.audit(model, x, y, loss=case.option("loss", mean_squared))

    expected = {name: e[0] for name, e in case.expect.items()}
    assert {name: answer.statuses[name] for name in expected} == expected
    assert set(answer.statuses.values()) - {"untracked"} <= set(expected.values())
    dead = {name for name, status in expected.items() if status in ("cut", "unused", "zero")}
    assert set(answer.explanations) == dead
    assert answer.ok == (not dead and "untracked" not in answer.statuses.values())
    by_code = {finding.code for finding in answer.findings}
    wanted = {"cut": "FL101", "zero": "FL103"}
    assert by_code >= {wanted[status] for status in expected.values() if status in wanted}
    assert not by_code & ({"FL101", "FL103"} - {wanted[s] for s in expected.values() if s in wanted})
    if "unused" in expected.values():
        assert by_code & {"FL102", "FL104"}
    for finding in answer.findings:
        if finding.code == "FL101" and case.option("PLACED", True):
            assert finding.where is not None
            assert Path(finding.where.file).stem == case.name
            assert finding.where.line in case.marks


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_case_by_why(case: case_files.Case) -> None:
    model, x, y = case.module.model()
    for name, (status, *reasons) in case.expect.items():
        one = fl.why(model, name, x, y, loss=case.option("loss", mean_squared))
        assert one.status == status
        assert {cut.reason for cut in one.cuts} == set(reasons)
        if status == "cut" and case.option("PLACED", True):
            assert {cut.where.line for cut in one.cuts if cut.where} == case.lines_for(name)
        if operation := case.option("OPERATION"):
            assert {cut.operation for cut in one.cuts} <= {operation}
        if status not in ("trains", "frozen"):
            assert one.remedy
        assert one.route[0].name == name


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_case_by_the_routes_of_its_weights_alone(case: case_files.Case) -> None:
    """What the check before training leaves out of the graph changes neither a status nor its reasons."""
    model, x, y = case.module.model()
    loss = case.option("loss", mean_squared)
    every = tuple(weight.address for weight in inventory(model).of_role("weight"))
    for asked in (every, *((address,) for address in every)):
        told = []
        for routes_only in (False, True):
            with inspect_model(
                model, x, y, loss=loss, asked=asked, measured=False, routes_only=routes_only
            ) as inspection:
                told.append([inspection.diagnosis.explain(address) for address in asked])
        for whole, narrow in zip(*told, strict=True):
            assert (whole.status, whole.cuts, whole.route) == (narrow.status, narrow.cuts, narrow.route)
