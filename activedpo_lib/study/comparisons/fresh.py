"""What was chosen on the world's tuning draw, judged on the figures' draw (Figure 18).

The best of two dozen is partly the luckiest: where it was chosen, its difference is too good. On
prompts and seeds that had no part in choosing it, it is not.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from activedpo_lib.study.comparisons.corrected import WHENS, corrected_verdicts
from activedpo_lib.study.comparisons.pooled import over_cells, pooled_verdicts
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.statistics import last_differences, saved_table
from activedpo_lib.study.wording import REWARD, itemised, joined, name_of, paragraphs, stands

BASELINE = "random"
WHAT = {"reward": REWARD, "utility": "True utility after the last round"}
WORDS = {"reward": "reward", "utility": "true utility"}


def sentence(folder: Path) -> str:
    """Figure 18 in words."""
    table = saved_table(folder, "fig18_fresh_seeds")
    if table["seed"].nunique() < 2:
        return "**One seed: nothing is judged.**"
    measures = ["reward"] + ["utility"] * bool(table["utility"].notna().all())
    parts = [_headline(table, measures), _over_all_cells(table, measures)]
    for measure in measures:
        apart = last_differences(table, measure, "strategy", BASELINE)
        cells = {f"{name_of(n)}, {task}, {model}": v for (task, model, n), v in apart.items()}
        parts.append(stands(cells, f"{WHAT[measure]}, each task and model, uncorrected", "Random"))
    for measure in measures:
        named = {name_of(n): values for n, values in over_cells(table, measure, BASELINE).items()}
        parts.append(
            stands(named, f"{WHAT[measure]}, mean over tasks and models, uncorrected", "Random")
        )
    seen = over_cells(table, "reward", BASELINE).values()
    return paragraphs(*parts, power_line(seen, "reward, mean over tasks and models,"))


def verdicts(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """The corrected verdicts after the last round, a row a (strategy, measure, task, model)."""
    found = corrected_verdicts(table, measures)
    return found[found["when"] == WHENS[0]]


def _headline(table: pd.DataFrame, measures: Sequence[str]) -> str:
    """In how many cells each strategy is above Random, corrected for all cells and strategies."""
    told = []
    for name, own in verdicts(table, measures).groupby("strategy", sort=False):
        above = own["verdict"].str.startswith("above").groupby(own["measure"], sort=False)
        counts = [f"{int(n.sum())} of {len(n)} in {WORDS[str(m)]}" for m, n in above]
        told.append(f"{name_of(str(name))} in {joined(counts)}")
    return (
        f"**Cells above Random on {table['seed'].nunique()} seeds, corrected: {'; '.join(told)}.**"
    )


def _over_all_cells(table: pd.DataFrame, measures: Sequence[str]) -> str:
    """The same over all cells at once, one number a seed."""
    pooled = pooled_verdicts(table, measures)
    counts = {}
    for name, own in pooled.groupby("strategy", sort=False):
        rows = zip(own["measure"], own["verdict"], strict=True)
        counts[name_of(str(name))] = joined([f"{verdict} in {WORDS[m]}" for m, verdict in rows])
    return itemised(counts, "Over all tasks and models at once, corrected")
