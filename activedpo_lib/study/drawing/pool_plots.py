"""A pool's pairs as points that can be hovered over (plotly)."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes

from activedpo_lib.study.drawing.looks import COLOURS, LABELS

PLOTLY = "application/vnd.plotly.v1+json"  # what pages and JupyterLab draw by themselves
WIDTH, LONGEST = 60, 300  # of a hover text: characters a line, and of each text


def pool(
    points: np.ndarray, shares: np.ndarray, texts: Sequence[tuple[str, str, str]]
) -> go.Figure:
    """Every pair a point, without picks yet: `show` puts them in."""
    hover = [_hover(*text) for text in texts]
    every = go.Scatter(
        x=points[:, 0].tolist(), y=points[:, 1].tolist(), mode="markers", name="pairs of the pool",
        text=hover, hovertemplate="%{text}<br>uncertainty %{marker.color:.3f}<extra></extra>",
        marker={"size": 7, "colorscale": "Viridis", "colorbar": {"title": "uncertainty"}},
    )  # fmt: skip
    picked = go.Scatter(
        x=[], y=[], mode="markers+text", name="picked", textposition="top center",
        hoverinfo="skip", marker={"size": 15, "symbol": "circle-open", "line": {"width": 2.5}},
    )  # fmt: skip
    axes = [f"principal direction {at + 1} of phi ({share:.0%})" for at, share in enumerate(shares)]
    layout = go.Layout(
        height=540, template="simple_white", legend={"orientation": "h", "y": -0.18},
        xaxis={"title": axes[0]}, yaxis={"title": axes[1]}, margin={"t": 70},
    )  # fmt: skip
    return go.Figure([every, picked], layout)


def show(
    figure: go.Figure, strategy: str, picked: Sequence[int], values: np.ndarray, most: float
) -> None:
    """Mark the pairs picked so far, numbered in order, and colour all by `values` from 0 to `most`;
    in place, so that a figure on the screen moves.
    """
    every, marks = figure.data
    rows = list(picked)
    every.marker.update(color=values.tolist(), cmin=0, cmax=most)
    marks.update(
        x=[every.x[row] for row in rows],
        y=[every.y[row] for row in rows],
        text=[str(at + 1) for at in range(len(rows))],
        marker_color=COLOURS.get(strategy, "#000000"),
    )
    figure.layout.title = f"{len(rows)} picks of {LABELS.get(strategy, strategy)}"


def falls(values: dict[str, tuple[np.ndarray, np.ndarray]], axes: Sequence[Axes]) -> None:
    """A panel a strategy: the pool's uncertainty before its batch, sorted, and after it.

    values: {strategy: (before, after)}, both (n,).
    """
    for ax, (name, (before, after)) in zip(axes, values.items(), strict=True):
        order = np.argsort(-before)
        ax.plot(before[order], color="black", label="before the batch")
        ax.plot(after[order], ".", markersize=3, color=COLOURS[name], label="after it")
        ax.set(title=LABELS[name], xlabel="pairs, by uncertainty before")
    axes[0].set_ylabel(r"$\|\phi\|_{V^{-1}}$")
    axes[0].legend(frameon=False)


def _hover(prompt: str, first: str, second: str) -> str:
    """Texts as text: markup in a response stays what it is. Plotly knows no entity for quotes."""
    parts = (prompt, f"1: {first}", f"2: {second}")
    short = (part if len(part) <= LONGEST else part[: LONGEST - 1] + "…" for part in parts)
    lines = (line for part in short for line in textwrap.wrap(part, WIDTH))
    return "<br>".join(html.escape(line, quote=False) for line in lines)
