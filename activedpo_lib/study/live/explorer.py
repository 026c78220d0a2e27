"""A pool to be touched: sliders for strategy, ridge, batch, and how many of the picks V knows."""

from __future__ import annotations

import json
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

from activedpo_lib.study.drawing import pool_plots
from activedpo_lib.study.drawing.looks import LABELS
from activedpo_lib.study.live.pool_seen import PoolSeen

RIDGES = [10.0**power for power in range(-3, 4)]


class Explorer:
    """`figure` and `box`, which has the controls above it; `pick()` reads the controls, picks again
    and moves the figure.
    """

    def __init__(self, seen: PoolSeen, strategy: str = "activedpo", live: bool = True) -> None:
        self.seen, self.live = seen, live
        self.figure: Any = pool_plots.pool(seen.points, seen.shares, seen.texts())
        most = min(50, len(seen.pool.pairs))
        own = min(seen.run.params.batch_size, most)
        names = [(LABELS.get(name, name), name) for name in seen.strategies()]
        self.strategy = widgets.Dropdown(options=names, value=strategy, description="strategy")
        self.ridge = widgets.SelectionSlider(
            options=[(f"{ridge:g}", ridge) for ridge in RIDGES], value=1.0, description="ridge x"
        )
        self.batch = widgets.IntSlider(own, 1, most, description="batch")
        self.known = widgets.IntSlider(own, 0, own, description="after pick")
        self.pick()
        if live:  # only now: what a FigureWidget is told before it is shown can be lost
            self.figure = go.FigureWidget(self.figure)
        self.box = widgets.VBox(
            [
                widgets.HBox([self.strategy, self.ridge]),
                widgets.HBox([self.batch, self.known]),
                *([self.figure] if live else []),
            ]
        )
        for control in (self.strategy, self.ridge, self.batch):
            control.observe(self.pick, "value")
        self.known.observe(self.colour, "value")

    def pick(self, change: object = None) -> None:
        """Pick by the controls, and show all picks."""
        self.picked = self.seen.pick(
            self.strategy.value, self.batch.value, self.ridge.value
        ).indices.tolist()
        self.most = float(self.seen.uncertainty(ridge=self.ridge.value).max())
        before = self.known.value
        self.known.max = self.batch.value
        self.known.value = self.batch.value
        if self.known.value == before:  # otherwise its own observer has coloured
            self.colour()

    def colour(self, change: object = None) -> None:
        """Show the picks up to the one chosen, and the pool's uncertainty after it."""
        rows = self.picked[: self.known.value]
        values = self.seen.uncertainty(rows, self.ridge.value)
        with self.figure.batch_update():
            pool_plots.show(self.figure, self.strategy.value, rows, values, self.most)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Widgets where it is live; else the figure alone, which pages can draw without Python."""
        if self.live:
            return self.box._repr_mimebundle_(**kwargs)
        return {
            pool_plots.PLOTLY: json.loads(self.figure.to_json()),
            "text/plain": "a pool of pairs",
        }
