"""Docstrings of the library on the site: they are plain text with code in backticks, so what
reStructuredText would read as markup is written as itself.
"""

import re
from itertools import groupby
from typing import Any

MARKUP = re.compile(r"([\\*|_])")


def literal(app: Any, what: str, name: str, found: object, options: Any, lines: list[str]) -> None:
    """Sphinx's `autodoc-process-docstring`: rewrite `lines` in place."""
    lines[:] = as_text(lines)


def as_text(lines: list[str]) -> list[str]:
    """The lines with markup escaped outside backticks; indented ones as a block of code."""
    written: list[str] = []
    for indented, group in groupby(lines, lambda line: line.startswith("  ")):
        block = list(group)
        if indented:
            written += ["", "::", "", *(f"    {line}" for line in block), ""]
        else:
            written += [_escaped(line) for line in block]
    return written


def _escaped(line: str) -> str:
    parts = line.split("`")
    if len(parts) % 2 == 0:  # a backtick alone is no code
        return MARKUP.sub(r"\\\1", line).replace("`", r"\`")
    return "".join(
        rf"\ `{part}`\ " if at % 2 else MARKUP.sub(r"\\\1", part) for at, part in enumerate(parts)
    )
