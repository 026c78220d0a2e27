"""What led among many, run once more on seeds that nobody has seen (Figure 18).

The best of two dozen is partly the luckiest. Its difference on the seeds that it was chosen on is
too good; on fresh seeds it is not.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.corrected import corrected_verdicts
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.statistics import last_differences, saved_table
from activedpo_lib.study.studies import Study
from activedpo_lib.study.wording import name_of, paragraphs, stands

BASELINE = "random"


def leaders(results: pd.DataFrame, count: int = 3) -> list[str]:
    """The strategies whose reward after the last round, as a difference to Random, has the highest
    mean over tasks, models and seeds; the best first.
    """
    apart = last_differences(results, "reward", "strategy", BASELINE)
    rows = [(strategy, values.mean()) for (_, _, strategy), values in apart.items()]
    means = pd.DataFrame(rows, columns=["strategy", "mean"]).groupby("strategy")["mean"].mean()
    return means.sort_values(ascending=False, kind="stable").index[:count].tolist()


def on_fresh_seeds(study: Study, strategies: Sequence[str], seeds: Sequence[int]) -> Study:
    """The study with these strategies and Random alone, on other seeds. Raises ValueError where a
    seed was used to choose.
    """
    if seen := sorted(set(seeds) & set(study.seeds)):
        raise ValueError(
            f"expected fresh seeds, got {seen}, on which the strategies were chosen; leave them out"
        )
    asked = {BASELINE, *strategies}
    cells = {cell: params for cell, params in study.cells.items() if cell[3] in asked}
    return replace(study, cells=MappingProxyType(cells), seeds=tuple(seeds))


def over_cells(results: pd.DataFrame, measure: str) -> dict[str, np.ndarray]:
    """{strategy: (seeds,) differences to Random after the last round, a seed's mean over tasks and
    models}: one number a seed, so that cells that share a seed are not counted as if they did not.
    """
    apart = last_differences(results, measure, "strategy", BASELINE)
    names = dict.fromkeys(strategy for _, _, strategy in apart)
    return {
        name: np.mean([values for (_, _, own), values in apart.items() if own == name], axis=0)
        for name in names
    }


def sentence(folder: Path) -> str:
    """Figure 18 in words."""
    table = saved_table(folder, "fig18_fresh_seeds")
    if table["seed"].nunique() < 2:
        return "**One fresh seed: nothing is judged.**"
    measures = ["reward"] + ["utility"] * bool(table["utility"].notna().all())
    parts = [_headline(table, measures)]
    what = {
        "reward": "Oracle reward after the last round (logits), mean over tasks and models",
        "utility": "True utility after the last round, mean over tasks and models",
    }
    for measure in measures:
        named = {name_of(n): values for n, values in over_cells(table, measure).items()}
        parts.append(stands(named, what[measure], "Random"))
    for measure in measures:
        apart = last_differences(table, measure, "strategy", BASELINE)
        cells = {f"{name_of(n)}, {task}, {model}": v for (task, model, n), v in apart.items()}
        each = "Oracle reward" if measure == "reward" else "True utility"
        parts.append(stands(cells, f"{each}, each task and model", "Random"))
    apart = last_differences(table, "reward", "strategy", BASELINE)
    return paragraphs(*parts, power_line(list(apart.values()), "reward"))


def _headline(table: pd.DataFrame, measures: Sequence[str]) -> str:
    found = corrected_verdicts(table, measures)
    last = found[found["when"] == "last round"]
    told = []
    for name, own in last.groupby("strategy", sort=False):
        above = own["verdict"].str.startswith("above").groupby(own["measure"], sort=False)
        words = {"reward": "in reward", "utility": "in true utility"}
        counts = [
            f"{int(one.sum())} of {len(one)} cells {words[str(measure)]}" for measure, one in above
        ]
        told.append(f"{name_of(str(name))} ended above Random in {' and '.join(counts)}")
    return f"**On fresh seeds, corrected: {'; '.join(told)}.**"
