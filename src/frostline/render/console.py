"""What everything is printed on. Whatever is drawn, no character of it acts on the terminal."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from frostline.render.foreign import visible

WIDTH = 100
"""Of lines, where neither a terminal nor `COLUMNS` says how wide they may be."""

NARROWEST = 20
"""Below so many columns `COLUMNS` is not heeded: nothing can be read there."""


def columns() -> int:
    """Return how wide lines may be where they are not drawn on a terminal: `COLUMNS`, or else 100."""
    named = os.environ.get("COLUMNS", "")
    asked = int(named) if named.isascii() and named.isdigit() else WIDTH
    return asked if asked >= NARROWEST else WIDTH


def wrapped(text: str) -> str:
    """Break the lines of a text between words; what goes on stands two columns further right."""
    return "\n".join(part for line in text.split("\n") for part in _wrapped(line))


def _wrapped(line: str) -> list[str]:
    indent = line[: len(line) - len(line.lstrip(" "))]
    parts = textwrap.wrap(
        line,
        columns(),
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return parts or [line]


class SafeConsole(Console):
    """A console that takes a string for plain text, and shows what would act on the terminal as an escape."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.width < 1:  # `COLUMNS=0`: nothing would be drawn, and nothing said
            self.width = WIDTH

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Draw something; the codes that Rich itself writes for a terminal go through."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as plain text: `[bold]` and `:smile:` in it are what others wrote."""
        plain = {"emoji": False, "markup": False, "highlight": False}
        return super().render_str(visible(text), **{**options, **plain})


def console_on(stream: IO[str]) -> SafeConsole:
    """Return a console as wide as the terminal; as `COLUMNS` or 100, without colours, where there is none."""
    found = SafeConsole(file=stream, highlight=False, markup=False, emoji=False)
    if found.is_terminal:
        return found
    return SafeConsole(
        file=stream, highlight=False, markup=False, emoji=False, width=columns(), no_color=True
    )
