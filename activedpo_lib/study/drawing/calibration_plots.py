"""Figure 6's second part: uncertainty and error beyond the true gap, and by tenths."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from activedpo_lib.study.drawing import plots

UNITS = {"error on one scale": "utils", "log-loss": "nats a label", "wrong side": "share"}


def beyond_gap(beyond: pd.DataFrame, deciles: pd.DataFrame) -> Figure:
    """Partial rank correlations of uncertainty with each measure of error, mean of the rounds from
    the second on; and each measure by tenth of uncertainty. beyond, deciles: of
    `calibration.correlation_table`; a line a task.
    """
    figure, axes = plt.subplots(1, 1 + len(UNITS), figsize=(14, 3.4), layout="constrained")
    later = beyond[beyond["round"] > 1]
    groups = later.groupby(["task", "measure", "seed"], sort=False)["beyond the gap"].mean()
    cells = groups.groupby(["task", "measure"], sort=False)
    plots.intervals([", ".join(cell) for cell, _ in cells], [own for _, own in cells], axes[0])
    axes[0].set(xlabel="rank correlation beyond the true gap")
    tenths = deciles[deciles["round"] > 1].drop(columns="round")
    tenths = tenths.groupby(["task", "seed", "decile"], sort=False).mean().reset_index()
    looks = plots.look(list(dict.fromkeys(tenths["task"])), "task")
    for ax, (measure, unit) in zip(axes[1:], UNITS.items(), strict=True):
        plots.curves(tenths, measure, ax, "task", looks, x="decile")
        ax.set(xlabel="tenth of the pool by uncertainty", ylabel=f"{measure} ({unit})")
    axes[-1].legend(frameon=False)
    return figure
