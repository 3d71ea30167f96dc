"""Ten trained rows of a large embedding: `fl.parametrize` against peers, and against splitting by hand.

A table of 250,000 x 256, batches of 8 x 64 ids, Adam. The limit is a layer written by hand for this one
purpose: a frozen table and a trained one of ten rows. Most peers train the whole table and undo it. Arms are
Keras models under `fit`, and on PyTorch and JAX loops without Keras, which do less than `fit`. The same with
a tied head; a Dense layer of 4096 x 4096 with 64 trained columns, batch 256; and the files of the result.
PEFT is held against ours in the same loop, since what `fit` costs is Keras's on either side.

The limit and ours, on both sizes of table, take turns in one process; whoever takes a second for a step runs
few of them. Beside them the rows of each step are looked up, by NumPy and by the backend, and nothing else is
done: caches hold the small table and not the large one, so what a lookup by itself takes longer there is the
least that a layer can. Extra memory is the peak of a fresh process from the plain model on, less that of the
same with all frozen, in percent of the table. Prints each figure beside its bar, writes all as JSON; never
fails on time. A load before of more than 0.5 spoils the figures. About 5 minutes for a backend; --quick tries
it out.

    KERAS_BACKEND=jax python benchmarks/partial_rows.py --rounds 5 --out rows-jax.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

THREADS = str(os.cpu_count() or 1)
for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, THREADS)
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

from rows_report import show  # noqa: E402 (NumPy reads the number of threads when it is imported)
from rows_task import (  # noqa: E402
    BY_FIT,
    FROZEN,
    JAX_FROZEN,
    JAX_PEERS,
    KERAS_PEERS,
    LIMIT,
    OURS,
    PEFT,
    PEFT_FROZEN,
    READING,
    READING_HERE,
    TORCH_FROZEN,
    TORCH_OURS,
    TORCH_PEERS,
    Arm,
    Task,
    peak_mb,
)

CASES = ("untied", "tied", "dense", "delta")
ROWS, UNITS = 250_000, 4096
SMALL_SHARE = 32_000 / 250_000

LEAN = (LIMIT, OURS, BY_FIT)
PEERS = {"torch": TORCH_PEERS, "jax": JAX_PEERS, "tensorflow": ()}

MEASURED_MS, MOST_STEPS, FEW_STEPS = 400, 256, 4
"""A measurement takes at most about so long, and has at most so many steps; more than a few are warmed up."""

TURNS = 8
"""Times `--rounds`: how often those take turns whose steps take milliseconds and are held to some percent."""

MEMORY_RUNS = {FROZEN: 3, OURS: 3}
"""Fresh processes for the peak of an arm whose peak a bar is about; one for others."""


def arm_of(name: str, task: Task) -> Arm:
    if name in (*TORCH_PEERS, TORCH_FROZEN, PEFT_FROZEN):
        from rows_peers_torch import TorchArm

        return TorchArm(name, task)
    if name in (*JAX_PEERS, JAX_FROZEN):
        from rows_peers_jax import JaxArm

        return JaxArm(name, task)
    from rows_keras import KerasArm
    from rows_reading import READERS

    return READERS[name](task) if name in READERS else KerasArm(name, task)


def all_frozen(name: str) -> str:
    """Return the arm whose memory that of another one is compared with."""
    if name == PEFT:
        return PEFT_FROZEN
    if name in TORCH_PEERS:
        return TORCH_FROZEN
    return JAX_FROZEN if name in JAX_PEERS else FROZEN


# In a process of its own --------------------------------------------------------------------------


def step_times(arms: list[tuple[str, int]], tied: bool, rounds: int) -> list[float]:
    """Return the median time of a step of each arm and size of table, in milliseconds; they take turns."""
    made = [arm_of(name, Task(rows, tied)) for name, rows in arms]
    steps = [enough_steps(arm) for arm in made]
    times: list[list[float]] = [[] for _ in made]
    order = list(range(len(made)))
    for number in range(rounds):
        for i in order if number % 2 else order[::-1]:
            times[i].append(warm_step_time(made[i], steps[i]))
    return [statistics.median(each) for each in times]


def enough_steps(arm: Arm) -> int:
    arm.step_time(1, epochs=1)  # compiles
    steps = 1
    while steps < MOST_STEPS and 4 * steps * arm.step_time(steps, epochs=1) < MEASURED_MS:
        steps *= 4
    return steps


def warm_step_time(arm: Arm, steps: int) -> float:
    return arm.step_time(steps, epochs=2 if steps > FEW_STEPS else 1)


def alone(name: str, rows: int, rounds: int) -> dict[str, float]:
    """Return the step time and the peak memory of an arm."""
    arm = arm_of(name, Task(rows))
    steps = enough_steps(arm)
    times = [warm_step_time(arm, steps) for _ in range(rounds)]
    peak = peak_mb()
    return {
        "milliseconds_a_step": statistics.median(times),
        "peak_MB": peak,
        "peak_with_building_MB": max(peak, arm.peak_of_building),
    }


def child(asked: dict[str, Any]) -> Any:
    kind = asked.pop("kind")
    if kind == "dense":
        from rows_dense import measure

        return measure(**asked)
    if kind == "delta":
        from rows_delta import measure as measure_files

        return measure_files(**asked)
    return {"step_times": step_times, "alone": alone}[kind](**asked)


# In the process that asks -------------------------------------------------------------------------


class ChildError(Exception):
    """A process ended with an error, all of which went to stderr; the message is its last line."""


def in_fresh_process(kind: str, **asked: Any) -> Any:
    command = [sys.executable, __file__, "--child", json.dumps({"kind": kind, **asked})]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    print(f"{time.perf_counter() - began:6.1f} s for {kind} {asked}", file=sys.stderr)
    if done.returncode:
        sys.stderr.write(done.stderr)
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}, and said nothing"]
        raise ChildError(lines[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def untied(backend: str, rows: int, rounds: int) -> dict[str, Any]:
    """Return the step times of all arms, and what memory they take beyond the same with all frozen."""
    turns = (*LEAN, READING_HERE, READING)
    sizes = [(name, size) for name in turns for size in (round(rows * SMALL_SHARE), rows)]
    found = in_fresh_process("step_times", arms=sizes, tied=False, rounds=TURNS * rounds)
    small, large = (dict(zip(turns, found[first::2], strict=True)) for first in (0, 1))
    peers = (*PEERS[backend], *KERAS_PEERS)
    alone_arms: dict[str, dict[str, float]] = {}
    left_out: dict[str, str] = {}
    for name in dict.fromkeys((*LEAN, *peers, FROZEN, *map(all_frozen, peers))):
        runs = MEMORY_RUNS.get(name, 1)
        try:
            each = [
                in_fresh_process("alone", name=name, rows=rows, rounds=rounds if name in peers else 1)
                for _ in range(runs)
            ]
        except ChildError as error:
            if name in (*LEAN, FROZEN):
                raise
            left_out[name] = str(error)
            continue
        alone_arms[name] = {figure: statistics.median(one[figure] for one in each) for figure in each[0]}
    peers_times = {name: alone_arms[name]["milliseconds_a_step"] for name in peers if name in alone_arms}
    table = Task(rows).table_mb
    return {
        "milliseconds_a_step": large | peers_times,
        "milliseconds_a_step_of_the_small_table": small,
        "extra_memory_percent_of_the_table": {
            name: 100 * (figures["peak_MB"] - alone_arms[all_frozen(name)]["peak_MB"]) / table
            for name, figures in alone_arms.items()
            if name in (*LEAN, *peers) and all_frozen(name) in alone_arms
        },
        "processes": alone_arms,
        "left_out": left_out,
    }


def tied(backend: str, rows: int, rounds: int) -> dict[str, Any]:
    """Return the step times with a tied head. PEFT takes turns with ours; a tiny table tells if it runs."""
    arms, left_out = [LIMIT, OURS], {}
    if backend == "torch":
        arms.append(TORCH_OURS)
        try:
            in_fresh_process("step_times", arms=[(PEFT, 100)], tied=True, rounds=1)
            arms.append(PEFT)
        except ChildError as error:
            left_out[PEFT] = str(error)
    found = in_fresh_process("step_times", arms=[(name, rows) for name in arms], tied=True, rounds=rounds)
    return {"milliseconds_a_step": dict(zip(arms, found, strict=True)), "left_out": left_out}


def rounded(figures: Any) -> Any:
    if isinstance(figures, dict):
        return {name: rounded(value) for name, value in figures.items()}
    return round(figures, 3) if isinstance(figures, float) else figures


def report(options: argparse.Namespace) -> dict[str, Any]:
    import keras

    backend, rows, rounds = keras.backend.backend(), options.rows, options.rounds
    units = UNITS // 16 if options.quick else UNITS
    measures = {
        "untied": lambda: untied(backend, rows, rounds),
        "tied": lambda: tied(backend, rows, rounds),
        "dense": lambda: in_fresh_process("dense", units=units, rounds=TURNS * rounds),
        "delta": lambda: in_fresh_process("delta", rows=rows, rounds=rounds),
    }
    about = {
        "backend": backend,
        "threads": os.environ["OMP_NUM_THREADS"],
        "rounds": rounds,
        "rows": rows,
        "units": units,
        "load_before": round(os.getloadavg()[0], 2),
    }
    cases = {case: rounded(measures[case]()) for case in options.cases}
    return {**about, "load_after": round(os.getloadavg()[0], 2), "cases": cases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--rows", type=int, help=f"of the large table; {ROWS:,} unless told")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, whose figures mean nothing")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child)))
        return
    options.rows = options.rows or (2_000 if options.quick else ROWS)
    figures = report(options)
    figures["bars"] = show(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
