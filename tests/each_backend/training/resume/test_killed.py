"""Runs that the system kills, in processes of their own: they end as the one that nobody killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.folders import HELPERS


def killed(folder: Path, way: str, kills: int, seed: int, *phases: str) -> list[dict[str, Any]]:
    """What `killing.py` reports of runs by `fl.fit` or `frostline fit`, killed in these phases or in each."""
    script = HELPERS / "killing.py"
    folder.mkdir()
    command = [sys.executable, str(script), way, str(folder), str(kills), str(seed), *phases]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report: list[dict[str, Any]] = json.loads((folder / "report.json").read_text())
    return report


def require_undisturbed(report: list[dict[str, Any]]) -> None:
    """Every run died, and came out as the one that nobody killed."""
    assert all(one["deaths"] for one in report)
    assert [one for one in report if one["difference"] > 1e-6] == []
    assert [one for one in report if one["problems"] or not one["same history"]] == []
    assert [one for one in report if not (one["same receipt"] and one["same files"])] == []


def test_killed_by_the_system_in_two_phases(tmp_path: Path) -> None:
    report = killed(tmp_path / "runs", "fit", 1, 0, "middle", "end")
    require_undisturbed(report)
    assert len(report) == 2


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fit", "command"])
def test_killed_by_the_system_twenty_times_in_each_phase(tmp_path: Path, way: str) -> None:
    report = killed(tmp_path / "runs", way, 20, 1)
    require_undisturbed(report)
    assert len(report) == 80
