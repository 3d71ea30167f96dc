"""A bar for work that takes a while, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from frostline.render.console import console_on
from frostline.render.foreign import exact


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """Draw a bar on the error stream for the time of a block, and take it away at its end.

    Draws nothing where no terminal is.

    Args:
        what: Stands in front of the bar.
        total: How many steps there are.

    Yields:
        A function to call after each step, with what the next one is about.
    """
    console = console_on(sys.stderr)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=14),
        MofNCompleteColumn(),
        TextColumn("{task.fields[about]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(exact(what), total=total, about="")
    with bar:
        yield lambda about: bar.update(task, advance=1, about=exact(about))
