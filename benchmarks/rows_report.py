"""What `partial_rows.py` found, as tables, each figure that has a bar beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rows_task import BY_FIT, CHECKED, DELTA, LIMIT, NOTES, OURS, PEFT, READING, READING_HERE, TORCH_OURS


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and what it is held against.

    Attributes:
        what: Is measured.
        figure: None where it is not measured.
        limit: At most that, or at least that.
        unit: Of both.
        at_least: Whether the limit is one from below.
        least: What lookups alone come to, by the backend and by NumPy, measured in the same run.
    """

    what: str
    figure: float | None
    limit: float
    unit: str = ""
    at_least: bool = False
    least: tuple[float, ...] = ()

    @property
    def kept(self) -> bool | None:
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def data(self) -> dict[str, Any]:
        side = "at_least" if self.at_least else "at_most"
        return {
            "what": self.what,
            "figure": self.figure,
            side: self.limit,
            "unit": self.unit,
            "least": self.least,
            "kept": self.kept,
        }


def bars(figures: dict[str, Any]) -> Iterator[Bar]:
    cases, on_torch = figures["cases"], figures["backend"] == "torch"
    if "untied" in cases:
        yield from bars_of_step_times(cases["untied"], on_torch=on_torch)
    if on_torch and "tied" in cases:
        times = cases["tied"]["milliseconds_a_step"]
        yield Bar(f"tied head: {TORCH_OURS} / {PEFT}", ratio(times[TORCH_OURS], times.get(PEFT)), 0.7)
    shares = {"weight gradient": "of_the_weight_gradient", "all": "all_of_the_weight_gradient"}
    for what, figure in shares.items():
        for columns, share in cases.get("dense", {}).get(figure, {}).items():
            yield Bar(f"Dense, {columns}: {what} / weight gradient of the whole kernel", share, 0.1)
    if "delta" in cases:
        delta = cases["delta"][DELTA]
        yield Bar(DELTA, delta["bytes"] / 1000, 64, "kB")
        yield Bar(DELTA, delta["milliseconds"], 50, "ms")


def bars_of_step_times(case: dict[str, Any], *, on_torch: bool) -> Iterator[Bar]:
    large, small = case["milliseconds_a_step"], case["milliseconds_a_step_of_the_small_table"]
    for ours in (OURS, BY_FIT):
        yield Bar(f"{ours} / {LIMIT}", ratio(large[ours], large[LIMIT]), 1.3)
    if on_torch:
        yield Bar(f"{PEFT} / {TORCH_OURS}", ratio(large.get(PEFT), large[TORCH_OURS]), 100, at_least=True)
    extra = case["extra_memory_percent_of_the_table"][OURS]
    yield Bar(f"{OURS}: extra memory, of the table", extra, 5, "%")
    more, *least = (
        round(100 * (large[name] - small[name]) / small[OURS], 1) for name in (OURS, READING_HERE, READING)
    )
    what = f"{OURS}: step of the large table against the small one"
    yield Bar(what, abs(more), 10, "%", least=tuple(least))


def ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(one / other, 3)


def show(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Print all figures, and return the bars as data."""
    console = Console(width=130, markup=False, highlight=False)
    cases = figures["cases"]
    console.print(
        f"{figures['backend']}, {figures['rows']:,} rows, {figures['threads']} threads, "
        f"{figures['rounds']} rounds, load {figures['load_before']} before and {figures['load_after']} after"
    )
    for name in ("untied", "tied"):
        if name in cases:
            console.print(table_of_arms(f"{name} head", cases[name]))
            for arm, reason in cases[name]["left_out"].items():
                console.print(f"left out: {arm}: {reason}")
    if "dense" in cases:
        console.print(table_of_kernels(cases["dense"]))
    if "delta" in cases:
        console.print(table_of_files(cases["delta"]))
    found = list(bars(figures))
    console.print(table_of_bars(found))
    return [bar.data() for bar in found]


def table_of_arms(title: str, case: dict[str, Any]) -> Table:
    times = case["milliseconds_a_step"]
    memory = case.get("extra_memory_percent_of_the_table")
    table = table_with(title, "arm", "ms a step", f"/ {LIMIT}", *(["extra memory"] if memory else []))
    table.add_column("note")
    for arm, ms in times.items():
        cells = [arm, f"{ms:,.2f}", f"{ms / times[LIMIT]:,.2f}"]
        cells += [f"{memory[arm]:.1f} %" if arm in memory else ""] if memory else []
        table.add_row(*cells, NOTES.get(arm, ""))
    for arm, ms in case.get("milliseconds_a_step_of_the_small_table", {}).items():
        more = f"{1000 * (times[arm] - ms):+,.0f} us, {100 * (times[arm] / ms - 1):+.1f} %"
        columns = [""] * (2 if memory else 1)
        table.add_row(f"{arm}, small table", f"{ms:,.2f}", *columns, f"the large one takes {more}")
    return table


def table_of_kernels(case: dict[str, Any]) -> Table:
    table = table_with("Dense", "kernel", "ms a step", "gradient", "all that they cost")
    for kernel, ms in case["milliseconds_a_step"].items():
        costs = (case[what].get(kernel) for what in ("of_the_weight_gradient", "all_of_the_weight_gradient"))
        table.add_row(kernel, f"{ms:,.1f}", *("" if share is None else f"{share:.3f}" for share in costs))
    table.caption = "as a share of what the gradient of the whole kernel costs"
    return table


def table_of_files(files: dict[str, dict[str, float]]) -> Table:
    table = table_with("files", "written by", "kB", "ms", "first call, ms")
    for name in (DELTA, CHECKED, *(other for other in files if other not in (DELTA, CHECKED))):
        file = files[name]
        milliseconds = (file["milliseconds"], file["first_call_milliseconds"])
        table.add_row(name, f"{file['bytes'] / 1000:,.1f}", *(f"{ms:,.1f}" for ms in milliseconds))
    return table


def table_of_bars(found: list[Bar]) -> Table:
    table = table_with("bars", "figure", "found", "bar", "lookup alone", "kept")
    for bar in found:
        sign = ">=" if bar.at_least else "<="
        answer = {True: "yes", False: "NO", None: "not measured"}[bar.kept]
        number = "-" if bar.figure is None else f"{bar.figure:,.3g} {bar.unit}".strip()
        least = ", ".join(f"{one:,.3g} {bar.unit}" for one in bar.least)
        table.add_row(bar.what, number, f"{sign} {bar.limit:g} {bar.unit}".strip(), least, answer)
    return table


def table_with(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
