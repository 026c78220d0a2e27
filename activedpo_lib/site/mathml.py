"""Formulas of the site as MathML, written while it is built: pages need no script, no font and no
network to show them.
"""

from typing import Any

from latex2mathml.converter import convert

# TeX that the converter does not know, in words that it does; the same glyphs.
KNOWN = {r"\arg\max": r"\operatorname{argmax}", r"\argmax": r"\operatorname{argmax}"}


def mathml(tex: str, block: bool = False) -> str:
    """A formula as a `<math>` element. Raises ValueError, with the formula, where TeX is wrong."""
    for unknown, known in KNOWN.items():
        tex = tex.replace(unknown, known)
    try:
        return convert(tex, display="block" if block else "inline")
    except Exception as error:
        raise ValueError(f"expected a formula in TeX, got {tex!r}: {error!r}") from error


def use_mathml(app: Any) -> None:
    """Make it the way in which Sphinx's application writes formulas."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"


def _inline(writer: Any, node: Any) -> None:
    writer.body.append(f'<span class="math-inline">{mathml(node.astext())}</span>')
    _skip()


def _block(writer: Any, node: Any) -> None:
    writer.body.append(f'<div class="math-block">{mathml(node.astext(), block=True)}</div>')
    _skip()


def _skip() -> None:
    from docutils.nodes import SkipNode

    raise SkipNode
