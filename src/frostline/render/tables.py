"""Turning records into text: terminal tables, notebook display, plain strings. One place, so all look alike.

Text of others (addresses, selectors) goes in by `plain` and `table`: never as Rich markup, and escaped before
it is measured.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich.console import ConsoleRenderable, Group
from rich.jupyter import JupyterMixin
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from frostline.render.console import SafeConsole, columns
from frostline.render.foreign import exact, one_line, visible

STYLES = {
    "trains": "bold green",
    "partial": "green",
    "frozen": "cyan",
    "assigned": "yellow",
    "held": "cyan",
    "moves": "yellow",
    "changed": "bold red",
    "unchanged": "cyan",
    "missing": "bold red",
    "cut": "bold red",
    "unused": "bold yellow",
    "zero": "bold yellow",
    "not_finite": "bold red",
}
"""One colour for one word, wherever it stands in a table."""


class Rendered(JupyterMixin):
    """A record that prints as text, shows in notebooks and draws itself on a Rich console."""

    __slots__ = ()

    def __rich__(self) -> ConsoleRenderable:
        raise NotImplementedError

    def __str__(self) -> str:
        return to_text(self.__rich__())


def to_text(renderable: ConsoleRenderable | str, width: int | None = None) -> str:
    """Return what would be drawn, as plain text without colours; as wide as `COLUMNS` says, or 100."""
    stream = io.StringIO()
    wide = columns() if width is None else width
    console = SafeConsole(file=stream, width=wide, force_terminal=False, no_color=True, legacy_windows=False)
    console.print(
        plain(renderable, lines=True) if isinstance(renderable, str) else renderable, soft_wrap=False
    )
    return "\n".join(line.rstrip() for line in stream.getvalue().removesuffix("\n").split("\n"))


def plain(text: str, style: str = "", *, indent: int = 0, lines: bool = False) -> Text | Padding:
    """Return a text for a console, in which nothing is markup and nothing acts.

    Args:
        text: What to show.
        style: Of Rich.
        indent: How far its lines stand from the left.
        lines: Whether it has lines of its own; else a break in it is shown, since it came with a name.
    """
    drawn = Text(visible(text) if lines else one_line(text), style=style)
    return Padding(drawn, (0, 0, 0, indent), expand=False) if indent else drawn


def headed(name: str, *rest: tuple[str, str]) -> Text:
    """Return a line that begins with a name in bold; each further part has a style of its own."""
    parts = ((one_line(text), style) for text, style in rest)
    return Text.assemble((exact(name), "bold"), *parts)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    title: str = "",
) -> Table:
    """Build a table of plain strings; a word of `STYLES` that fills a cell gets its colour.

    Args:
        columns: The heads. A column named in `numbers` is set flush right.
        rows: The cells.
        numbers: Heads of columns that hold figures.
        title: Stands above, flush left.
    """
    drawn = Table(
        title=Text(exact(title)) if title else None, title_justify="left", title_style="bold", box=None
    )
    drawn.pad_edge = False
    for head in columns:
        flush_right = head in numbers
        drawn.add_column(
            Text(exact(head)),
            justify="right" if flush_right else "left",
            overflow="fold",
            no_wrap=flush_right,
            header_style="bold",
        )
    for row in rows:
        drawn.add_row(*(Text(exact(cell), style=STYLES.get(cell, "")) for cell in row))
    return drawn


def stacked(*parts: ConsoleRenderable | str) -> Group:
    """Put parts under one another; a string becomes plain text, an empty one a blank line."""
    return Group(*(plain(part) if isinstance(part, str) else part for part in parts))


def count(number: int, noun: str, plural: str = "") -> str:
    """Say how many, with thousands separated.

    Args:
        number: How many.
        noun: What, in the singular.
        plural: The same in the plural, where that is not an s behind it.

    Example:
        >>> count(1200, "weight"), count(1, "batch", "batches")
        ('1,200 weights', '1 batch')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def bytes_text(number: int) -> str:
    """Say a number of bytes with a unit that suits it (powers of 1000)."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if round(size, 1) < 1000 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError


def share(part: int, whole: int) -> str:
    """Say a part in percent, with enough digits to tell it from 0 and from 100."""
    if whole == 0:
        return "0%"
    percent = 100 * part / whole
    for digits in (0, 1, 2, 3, 4):
        text = f"{percent:.{digits}f}"
        if part in (0, whole) or (float(text) > 0 and float(text) < 100):
            return f"{text}%"
    return f"{percent:.1e}%" if percent < 50 else "over 99.9999%"
