"""Figure 21: twice the labels. Does the truth go on rising with the oracle's reward, and does a
second reward model, on whose answers nothing was trained, say the same?
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.pooled import over_cells
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.statistics import last_differences, saved_table, sign
from activedpo_lib.study.wording import compared, counted, headline, name_of, paragraphs, stands

NAME = "fig21_longer"
MEASURES = {
    "agreement": "Agreement with held-out answers (0 to 1)",  # a replay's
    "reward": "Oracle reward (logits)",
    "evaluator_reward": "Second model's reward (logits)",
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
    what = MEASURES[judge].split(" (")[0]
    rose = counted(added, 1, "strategy", "strategies")
    head = f"From {labels // 2} to {labels} labels, {what[0].lower()}{what[1:]} rose for {rose}."
    if any(sign(values) < 0 for values in added.values()):
        head += f" It fell for {counted(added, -1, 'strategy', 'strategies')}."
    apart, cells = over_cells(table, judge, "random"), table.groupby(["task", "model"]).ngroups
    ends = [
        f"{name_of(name)} then ended {compared(values, 'Random')} in it, over {cells} cells."
        for name, values in apart.items()
    ]
    lines = "\n".join([head, *(line[0].upper() + line[1:] for line in ends)])
    return paragraphs(headline(added, lines), *_lists(table, measures, labels))


def _lists(table: pd.DataFrame, measures: list[str], labels: int) -> Iterator[str]:
    for measure in measures:
        named = {name_of(n): v for n, v in second_half(table, measure).items()}
        what = f"{MEASURES[measure]} after {labels} labels, mean over tasks and models"
        yield stands(named, what, f"that after {labels // 2}")
        pooled = over_cells(table, measure, "random")
        yield stands({name_of(n): v for n, v in pooled.items()}, what, "Random")
        yield power_line(pooled.values(), f"that mean's {measure.replace('_', ' ')}")
    for measure in measures:
        apart = last_differences(table, measure, "strategy", "random")
        cells = {f"{name_of(name)}, {task}, {model}": v for (task, model, name), v in apart.items()}
        yield stands(cells, f"{MEASURES[measure]} after {labels} labels", "Random")
