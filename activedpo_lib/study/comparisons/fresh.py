"""What led among many, run once more on seeds that had no part in choosing it (Figure 18).

The best of two dozen is partly the luckiest. Its difference on the seeds that it was chosen on is
too good; on fresh seeds it is not.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from activedpo_lib.study.comparisons.corrected import WHENS, corrected_verdicts
from activedpo_lib.study.comparisons.pooled import over_cells, pooled_verdicts
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.statistics import last_differences, saved_table
from activedpo_lib.study.studies import Study
from activedpo_lib.study.wording import REWARD, itemised, joined, name_of, paragraphs, stands

BASELINE = "random"
WHAT = {"reward": REWARD, "utility": "True utility after the last round"}


def leaders(results: pd.DataFrame, count: int = 3) -> list[str]:
    """The strategies whose reward after the last round, as a difference to Random, has the highest
    mean over tasks, models and seeds; the best first.
    """
    apart = over_cells(results, "reward", BASELINE)
    return sorted(apart, key=lambda name: apart[name].mean(), reverse=True)[:count]


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


def sentence(folder: Path) -> str:
    """Figure 18 in words."""
    table = saved_table(folder, "fig18_fresh_seeds")
    if table["seed"].nunique() < 2:
        return "**One fresh seed: nothing is judged.**"
    measures = ["reward"] + ["utility"] * bool(table["utility"].notna().all())
    parts = [_headline(table, measures)]
    for measure in measures:
        named = {name_of(n): values for n, values in over_cells(table, measure, BASELINE).items()}
        parts.append(
            stands(named, f"{WHAT[measure]}, mean over tasks and models, uncorrected", "Random")
        )
    for measure in measures:
        apart = last_differences(table, measure, "strategy", BASELINE)
        cells = {f"{name_of(n)}, {task}, {model}": v for (task, model, n), v in apart.items()}
        parts.append(stands(cells, f"{WHAT[measure]}, each task and model, uncorrected", "Random"))
    parts.append(_cell_by_cell(table, measures))
    seen = over_cells(table, "reward", BASELINE).values()
    return paragraphs(*parts, power_line(seen, "reward, mean over tasks and models,"))


def _cell_by_cell(table: pd.DataFrame, measures: Sequence[str]) -> str:
    """The same, stricter: corrected for every cell, in how many a strategy is above Random."""
    found = corrected_verdicts(table, measures)
    last = found[found["when"] == WHENS[0]]
    counts = {}
    for name, own in last.groupby("strategy", sort=False):
        above = own["verdict"].str.startswith("above").groupby(own["measure"], sort=False)
        told = [f"{int(n.sum())} of {len(n)} in {'true ' * (m == 'utility')}{m}" for m, n in above]
        counts[name_of(str(name))] = joined(told)
    return itemised(
        counts, "Cells in which each is above Random, corrected for all cells of a measure"
    )


def _headline(table: pd.DataFrame, measures: Sequence[str]) -> str:
    """Of all fresh seeds, and of those alone that were run after the verdict was fixed."""
    count = table["seed"].nunique()
    text = f"On {count} fresh seeds, corrected: {_above(pooled_verdicts(table, measures))}"
    later = table[~table["looked_at"]] if "looked_at" in table else table
    if 1 < (left := later["seed"].nunique()) < count:
        text += f". On the {left} run after the verdict was fixed: "
        text += _above(pooled_verdicts(later, measures))
    return f"**{text}.**"


def _above(pooled: pd.DataFrame) -> str:
    above = pooled[pooled["verdict"] == "above Random"]
    if above.empty:
        return "none"
    words = {"reward": "reward", "utility": "true utility"}
    alike: dict[str, list[str]] = {}
    for name, own in above.groupby("strategy", sort=False):
        alike.setdefault(joined([words[m] for m in own["measure"]]), []).append(name_of(str(name)))
    told = [f"{joined(names)} in {measures}" for measures, names in alike.items()]
    return "; ".join(told).replace(" in ", " above Random in ", 1)
