"""Figure 21: twice the labels. Does the truth go on rising with the oracle's reward, and does a
second reward model, on whose answers nothing was trained, say the same?
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.statistics import last_differences, saved_table
from activedpo_lib.study.wording import counted, headline, name_of, paragraphs, stands

NAME = "fig21_longer"
MEASURES = {
    "reward": "Oracle reward (logits)",
    "evaluator_reward": "Reward by the second model (logits)",
    "utility": "True utility (utils)",
}


def known(table: pd.DataFrame) -> list[str]:
    """Those of MEASURES that every row of a table has."""
    return [name for name in MEASURES if name in table and table[name].notna().all()]


def second_half(table: pd.DataFrame, measure: str) -> dict[str, np.ndarray]:
    """{strategy: what the second half of the rounds added, (seeds,)}, the mean over tasks and
    models, which share a seed.
    """
    end = int(table["round"].max())
    at = table.set_index(["strategy", "task", "model", "seed", "round"])[measure].unstack("round")
    added = (at[end] - at[end // 2]).groupby(["strategy", "seed"], sort=False).mean()
    return {
        str(name): own.sort_index(level="seed").to_numpy()
        for name, own in added.groupby("strategy", sort=False)
    }


def sentence(folder: Path) -> str:
    """Figure 21 in words; "" where it was not made."""
    if not (folder / f"{NAME}.csv").is_file():
        return ""
    table = saved_table(folder, NAME)
    measures, labels = known(table), int(table["labels"].max())
    judge = "utility" if "utility" in measures else measures[-1]
    added = second_half(table, judge)
    head = (
        f"From {labels // 2} to {labels} labels, {MEASURES[judge].split(' (')[0].lower()} rose for "
        f"{counted(added, 1, 'strategy', 'strategies')}, and fell for "
        f"{counted(added, -1, 'strategy', 'strategies')}."
    )
    return paragraphs(headline(added, head), *_lists(table, measures, labels))


def _lists(table: pd.DataFrame, measures: list[str], labels: int) -> Iterator[str]:
    for measure in measures:
        named = {name_of(n): v for n, v in second_half(table, measure).items()}
        what = f"{MEASURES[measure]} after {labels} labels, mean over tasks and models"
        yield stands(named, what, f"that after {labels // 2}")
    for measure in measures:
        apart = last_differences(table, measure, "strategy", "random")
        cells = {f"{name_of(name)}, {task}, {model}": v for (task, model, name), v in apart.items()}
        yield stands(cells, f"{MEASURES[measure]} after {labels} labels", "Random")
        yield power_line(cells.values(), f"a cell's {measure.replace('_', ' ')}")
