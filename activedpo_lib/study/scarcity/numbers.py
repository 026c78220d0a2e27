"""Are labels scarce, how much could any choice gain, and is it the labels? Figures 15 to 17: tables
of runs in, numbers a seed out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.schema import KNOWING, Params
from activedpo_lib.study.tables import last_round


def measure_of(table: pd.DataFrame) -> str:
    """What runs are measured by: the oracle's reward, or in a replay the agreement with people."""
    return "reward" if "reward" in table else "agreement"


def optimiser_steps(params: Params) -> int:
    """The optimiser's steps of one round."""
    return math.ceil(params.batch_size / params.dpo.batch_size) * round(params.dpo.epochs)


def with_steps(results: pd.DataFrame, cells: Mapping[tuple, Params]) -> pd.DataFrame:
    """`results` with `steps`, the optimiser's steps so far. cells: of the Study that ran them."""
    each = {(t, m, v): optimiser_steps(params) for (t, m, v, _), params in cells.items()}
    keys = zip(results["task"], results["model"], results["variant"], strict=True)
    return results.assign(steps=np.array([each[key] for key in keys]) * results["round"])


def gains(table: pd.DataFrame, by: str, measure: str = "") -> dict[tuple, np.ndarray]:
    """{(task, model, by): what each seed gained over pi_SFT after the last round, (seeds,)}."""
    measure, keys = measure or measure_of(table), ["task", "model", by, "seed"]
    last = last_round(table).set_index(keys)[measure]
    first = table[table["round"] == 0].set_index(keys)[measure]
    runs = (last - first).groupby(["task", "model", by], sort=False)
    return {cell: own.sort_index().to_numpy() for cell, own in runs}


def lost(found: Mapping[tuple, np.ndarray], variant: str, usual: str) -> dict[tuple, np.ndarray]:
    """{(task, model): the usual gain less the variant's, (seeds,)}, paired by seed."""
    cells = [cell for cell in found if cell[2] == usual]
    return {cell[:2]: found[cell] - found[(*cell[:2], variant)] for cell in cells}


def share_lost(found: Mapping[tuple, np.ndarray], variant: str, usual: str) -> dict[tuple, float]:
    """{(task, model): the mean of `lost` as a share of the usual mean gain}; NaN where nothing was
    gained.
    """
    return {
        cell: values.mean() / gain if (gain := found[(*cell, usual)].mean()) > 0 else math.nan
        for cell, values in lost(found, variant, usual).items()
    }


def room(table: pd.DataFrame, measure: str = "") -> dict[tuple, np.ndarray]:
    """{(task, model): full knowledge less Random after the last round, (seeds,)}, by the ceiling of
    the highest mean.
    """
    found = gains(table, "strategy", measure)
    rooms: dict[tuple, np.ndarray] = {}
    for (*cell, name), values in found.items():
        if name.startswith(KNOWING):
            gap = values - found[(*cell, "random")]
            best = rooms.get(tuple(cell))
            rooms[tuple(cell)] = gap if best is None or gap.mean() > best.mean() else best
    return rooms


def rooms_in(folder: Path | str) -> dict[tuple[str, str], float]:
    """{(task, model): the mean room after the last round} of Figure 16's table in a folder of
    figures; empty where it has none.
    """
    path = Path(folder) / "fig16_room.csv"
    if not folder or not path.is_file():
        return {}
    found = room(pd.read_csv(path))
    return {(task, model): float(values.mean()) for (task, model), values in found.items()}


def share_of_room(folder: Path | str, cells: Mapping[tuple[str, str], np.ndarray]) -> float:
    """What a strategy gained over Random as a share of the room, both as means over tasks and
    models; NaN where the folder has no room for one of them. cells: {(task, model): (seeds,)}.
    """
    rooms = rooms_in(folder)
    if not cells or not set(cells) <= set(rooms):
        return math.nan
    gained = np.mean([values.mean() for values in cells.values()])
    return float(gained / np.mean([rooms[cell] for cell in cells]))
