"""Figure 13: two dozen strategies against Random, a panel a task and model."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from activedpo_lib.study.comparisons.corrected import WHENS, Room
from activedpo_lib.study.drawing import plots

REACH = 1.5  # of a panel's frame, in its largest difference
# The corrected verdict's look: told apart by shape too, with any colour vision.
VERDICTS: Mapping[str, tuple[str, str]] = {
    "above Random": ("#0072B2", "^"),
    "level": ("#777777", "o"),
    "below Random": ("#D55E00", "v"),
    "one seed": ("#777777", "d"),
}


def all_strategies(found: pd.DataFrame, title: str, room: Room | None = None) -> Figure:
    """A row a measure, a column a (task, model): each strategy's paired difference to Random.

    found: of `corrected_verdicts`. Filled: after the last round, with the interval that holds for
    all comparisons at once, its shape the corrected verdict; hollow: the mean over rounds. Sorted
    by the first measure's mean over cells, after the last round. room: a thin line in reward.
    """
    measures, cells = (list(dict.fromkeys(part)) for part in (found["measure"], _cells(found)))
    last = found[(found["when"] == WHENS[0]) & (found["measure"] == measures[0])]
    order = last.groupby("strategy")["difference"].mean().sort_values(ascending=False).index
    figure, axes = plt.subplots(
        len(measures), len(cells), sharey=True, squeeze=False, layout="constrained",
        figsize=(max(8.0, 2.2 + 2.4 * len(cells)), len(measures) * (0.21 * len(order) + 1.0) + 0.8),
    )  # fmt: skip
    for measure, row in zip(measures, axes, strict=True):
        for cell, ax in zip(cells, row, strict=True):
            own = found[(found["measure"] == measure) & (_cells(found) == cell)]
            line = room.get(cell) if measure == "reward" and room else None
            _panel(own, list(order), ax, line)
            ax.set_title(", ".join(cell))
            ax.set_xlabel(f"difference in {plots.AXES[measure].removeprefix('mean ')}")
    _legend(figure, axes[0, 0], bool(room))
    seeds = found["seeds"].min()
    wide = "intervals simultaneous (95 %)" + ", cut at the frame" * (len(order) > 2)
    note = f"mean over {seeds} seeds, {wide}" if seeds > 1 else "one seed"
    figure.suptitle(f"{title}\n{note}", fontsize="medium")
    return figure


def _cells(found: pd.DataFrame) -> pd.Series:
    return pd.Series(list(zip(found["task"], found["model"], strict=True)), index=found.index)


def _panel(own: pd.DataFrame, order: list[str], ax: Axes, room: float | None) -> None:
    last, mean = (own[own["when"] == when].set_index("strategy").loc[order] for when in WHENS)
    for at, row in enumerate(last.to_dict("records")):
        colour, marker = VERDICTS[row["verdict"]]
        half = np.nan_to_num(row["± corrected"])
        ax.errorbar(
            row["difference"], at, xerr=half, color=colour, marker=marker, markersize=5, capsize=2,
            linewidth=1,
        )  # fmt: skip
    ax.plot(mean["difference"], range(len(order)), "o", mfc="white", mec="black", markersize=3,
            linewidth=0, zorder=4)  # fmt: skip
    ax.axvline(0, color="black", linewidth=1)
    if room is not None:
        ax.axvline(room, color="black", linestyle=":", linewidth=0.8)
    # Of many strategies on few seeds the intervals are far wider than all differences: the frame
    # cuts them. Those of one or two are shown whole.
    reach = REACH * np.abs([*last["difference"], *mean["difference"], room or 0.0]).max()
    if len(order) < 3:
        ends = last["difference"].abs() + last["± corrected"]
        reach = np.nanmax([reach, *(1.05 * ends)])
    ax.set_xlim(-reach, reach)
    ax.set_yticks(range(len(order)), [plots.LABELS.get(name, name) for name in order])
    ax.set_ylim(len(order) - 0.4, -0.6)  # the best on top


def _legend(figure: Figure, ax: Axes, room: bool) -> None:
    marks = [
        ax.plot([], [], marker, color=colour, label=f"{name} (corrected)")[0]
        for name, (colour, marker) in VERDICTS.items()
        if name != "one seed"
    ]
    marks += ax.plot([], [], "o", mfc="white", mec="black", markersize=3, label="mean over rounds")
    if room:
        marks += ax.plot([], [], color="black", linestyle=":", label="the room")
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)


def parts(found: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], title: str) -> Figure:
    """Figure 23: a row of panels a criterion, a panel a measure, in it a row for each part left
    out, and Random: the difference to the whole, its seeds and their interval. found: of
    `taken_apart`.
    """
    rows = [len(next(iter(own.values()))) for own in found.values()]
    columns = len(next(iter(found.values())))
    figure, axes = plt.subplots(
        len(found), columns, squeeze=False, sharex="col", layout="constrained",
        height_ratios=rows, figsize=(2.4 + 2.9 * columns, 0.42 * sum(rows) + 2.0),
    )  # fmt: skip
    for (whole, own), panels in zip(found.items(), axes, strict=True):
        for ax, (measure, cells) in zip(panels, own.items(), strict=True):
            plots.intervals(list(cells), list(cells.values()), ax)
            ax.set_xlabel(f"difference in {plots.AXES[measure].removeprefix('mean ')}")
        for ax in panels[1:]:
            ax.set_yticklabels([])
        panels[0].set_title(plots.LABELS[whole], loc="left")
    seeds = min(len(v) for own in found.values() for cells in own.values() for v in cells.values())
    note = (
        f"to the whole criterion; mean over tasks and models, {seeds} seeds (dots), 95 % interval"
    )
    figure.suptitle(f"{title}\n{note if seeds > 1 else 'one seed'}", fontsize="medium")
    return figure
