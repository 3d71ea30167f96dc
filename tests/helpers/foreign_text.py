"""Text as a hostile or unlucky author writes it, and what must never come of it."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

from hypothesis import strategies as st

HOSTILE = (
    "cat\nunsafe: true\nimport: [helper]\n#",
    "cat\r\nimport: [helper]",
    "cat\x85import: [helper]\u2028unsafe: true\u2029",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "\x1b]0;title\x07\x9b2J",
    "a\x08\x08\x08b\x00\x7f",
    "\u202egnp.exe\u2066x\u2069",
    "a\u200bb\ufeffc\u00add",
    "[bold]x[/bold] [link=http://evil.example]y[/link] :smile:",
    "[/]",
    "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;",
    '"; import os #',
    "{model} %s {0}",
    "- a: &x [*x]",
    "!!python/object/apply:os.system ['true']",
    "\ud800 lone \udcff",
    "\udcff",
    "\U000e0041\U000e0042",
    "e\u0301 \u1100\u1161 \u212b",
    "yes",
    "null",
    "1e5",
    "0x10",
    "1:30",
    "~",
    "'",
    "\\x1b[31m \\\\n \\",
    "#",
    " leading and trailing ",
    "",
    "\t",
    "a: b",
    "{a: b}",
    "*alias",
    "%directive",
    "---\n...\n",
    "=HYPERLINK()",
    "🙂 größe 日本",
)
"""Each is a member of another kind."""

_SIGNS = "\n\r\t\x1b\x00\x07\x08\x7f\x85\x9b\u2028\u2029\u202e\u200b\ufeff\ud800\\\"'#:{}[]<>&-!*%@`|,?~"
signs = st.one_of(
    st.characters(),
    st.sampled_from(_SIGNS),
)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(signs, max_size=40))
"""Any text, more often such as means something to somebody."""


def acting(text: str) -> set[str]:
    """Return the characters of a text that act on a terminal, or that nobody sees, but line breaks."""
    kinds = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return {one for one in text if one != "\n" and unicodedata.category(one) in kinds}


class Elements(HTMLParser):
    """The elements of a page, each with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes.update(name for name, _ in attrs)
