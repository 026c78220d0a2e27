"""What was chosen on the world's tuning draw, judged on seeds that nobody had run (Figure 18).

The best of many is partly the luckiest: where it was chosen, its difference is too good. On seeds
that had no part in the choice, it is not.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons import own_step
from activedpo_lib.study.comparisons.corrected import (
    WHENS,
    WORDS,
    cells_above,
    corrected_verdicts,
    known_measures,
)
from activedpo_lib.study.comparisons.pooled import pooled_verdicts, power_lines
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.scarcity.kl_sentences import at_equal_kl
from activedpo_lib.study.scarcity.numbers import share_of_room
from activedpo_lib.study.statistics import last_differences, saved_table
from activedpo_lib.study.studies import Study
from activedpo_lib.study.wording import (
    CORRECTED,
    REWARD,
    itemised,
    joined,
    name_of,
    paragraphs,
    share,
    stands,
    with_half,
)

BASELINE = "random"
TUNING_SEEDS = range(100, 109)  # notebook 00: those on which the strategy was chosen
WHAT = {"reward": REWARD, "utility": "True utility after the last round"}


def sentence(folder: Path) -> str:
    """Figure 18 in words."""
    table = saved_table(folder, "fig18_fresh_seeds")
    if table["seed"].nunique() < 2:
        return "**One seed: nothing is judged.**"
    measures = known_measures(table)
    third = at_equal_kl(folder, "fig18_fresh_seeds_equal_kl", "usual")
    fourth = own_step.told(folder)
    parts = [
        _headline(folder, table, measures),
        *third[:1],
        *fourth[:1],
        *third[1:],
        *fourth[1:],
        _second_look(folder),
    ]
    parts.append(_over_all_cells(table, measures))
    for measure in measures:
        cells = _cells(table, measure)
        parts.append(stands(cells, f"{WHAT[measure]}, each task and model, uncorrected", "Random"))
        parts.append(power_line(cells.values(), f"a cell's {WORDS[measure]}"))
    return paragraphs(*parts)


def _cells(table: pd.DataFrame, measure: str) -> dict[str, np.ndarray]:
    """{"strategy, task, model": differences to Random after the last round (seeds,)}."""
    apart = last_differences(table, measure, "strategy", BASELINE)
    return {f"{name_of(n)}, {task}, {model}": v for (task, model, n), v in apart.items()}


def judged(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """The verdicts after the last round, corrected for all cells, measures and strategies."""
    found = corrected_verdicts(table, measures, one_family=True)
    return found[found["when"] == WHENS[0]].reset_index(drop=True)


def _headline(folder: Path, table: pd.DataFrame, measures: Sequence[str]) -> str:
    """In how many cells each strategy is above Random, and below it where it is."""
    told = []
    for name, own in judged(table, measures).groupby("strategy", sort=False):
        told.append(f"{name_of(str(name))} ended above Random in {cells_above(own)}")
    seeds = table["seed"].nunique()
    return f"**On {seeds} seeds, corrected: {'; '.join(told)}{_of_the_room(folder)}.**"


def helped(found: pd.DataFrame) -> str:
    """What the verdicts of `judged` say of choosing labels at all: of any strategy, in any cell."""
    above, below = (
        set(found["strategy"][found["verdict"] == f"{w} Random"]) for w in ("above", "below")
    )
    if above - below:
        return "can help"
    return "was not shown to help" if not above else "helps in some places and harms in others"


def parts_of_room(folder: Path) -> dict[str, float]:
    """{strategy: what part of the room it gains in reward}; empty without Figure 16."""
    table = saved_table(folder, "fig18_fresh_seeds")
    apart, found = last_differences(table, "reward", "strategy", BASELINE), {}
    for name in dict.fromkeys(cell[-1] for cell in apart):
        cells = {cell[:2]: values for cell, values in apart.items() if cell[-1] == name}
        found[name] = share_of_room(folder, cells)
    return {name: part for name, part in found.items() if not math.isnan(part)}


def _of_the_room(folder: Path) -> str:
    told = [share(part) for part in parts_of_room(folder).values()]
    return f".\nIn reward that is {joined(told)} of the room" if told else ""


def _second_look(folder: Path) -> str:
    """True utility in the cell that the first look left open, on seeds of its own; "" not run."""
    path = folder / "fig18_fresh_seeds_second_look.csv"
    if not path.is_file():
        return ""
    table = pd.read_csv(path)
    measure = "utility" if table["utility"].notna().all() else "reward"
    cells = _cells(table, measure)
    # Of other prompts, but the same adapters and random numbers: the choice had seen some of them.
    untouched = table[~table["seed"].isin(TUNING_SEEDS)]
    if len(untouched) < len(table):
        without = _cells(untouched, measure)
        cells |= {
            f"{cell}, without seeds that had a part in tuning": values
            for cell, values in without.items()
        }
    label = f"A second look on {table['seed'].nunique()} seeds of its own, {WORDS[measure]}"
    return stands(cells, label, "Random")


def check_apart(*studies: Study) -> None:
    """Raise ValueError where two of these studies share a seed: a look of its own needs its own."""
    for one, other in combinations(studies, 2):
        if shared := sorted(set(one.seeds) & set(other.seeds)):
            raise ValueError(
                f"{one.name} and {other.name} both have the seeds {shared}; ask {one.name} for "
                f"fewer, or start {other.name} later (first_seed)"
            )


def _over_all_cells(table: pd.DataFrame, measures: Sequence[str]) -> str:
    """All tasks and models at once: one number a seed, corrected for measures and strategies."""
    rows = pooled_verdicts(table, measures).to_dict("records")
    found = {
        f"{name_of(row['strategy'])}, {WORDS[row['measure']]}": (
            f"{with_half(row['mean'], row['±'])}, {row['verdict']}"
        )
        for row in rows
    }
    what = f"Mean over tasks and models, difference to Random, {CORRECTED}"
    return paragraphs(itemised(found, what), *power_lines(table, measures))
