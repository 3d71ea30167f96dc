"""`watch: true` in a run config."""

from __future__ import annotations

import math
from pathlib import Path

from helpers.command_line import Runner
from helpers.run_configs import BASE, rows, write


def test_a_run_is_watched_where_the_config_says_so(run: Runner) -> None:
    write(watch=True)
    done = run("fit", "run.yaml")
    assert (done.code, done.err) == (0, "")
    table = rows()
    assert math.isfinite(float(table[-1]["watch/update_ratio"]))
    assert "watch/" not in "\n".join(done.lines)


def test_what_is_found_is_said_and_stands_in_the_log(run: Runner) -> None:
    compiled = BASE["compile"] | {"optimizer": {"name": "sgd", "learning_rate": 3000.0}}
    write(watch=True, compile=compiled, epochs=2)
    done = run("fit", "run.yaml")
    assert done.code == 0
    assert "FL60" in "\n".join(done.lines)
    assert "FL60" in Path("out/log.txt").read_text()


def test_it_is_not_by_default(run: Runner) -> None:
    write()
    assert run("fit", "run.yaml").code == 0
    assert not [name for name in rows()[0] if name.startswith("watch/")]
