"""What notebooks 06 and 07 found: do labels limit learning, and how much room is there?"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.scarcity import criteria
from activedpo_lib.study.scarcity.criteria import STEPS
from activedpo_lib.study.scarcity.numbers import gains, lost, measure_of, room, share_lost
from activedpo_lib.study.statistics import saved_table
from activedpo_lib.study.tables import last_round
from activedpo_lib.study.wording import (
    counted,
    headline,
    itemised,
    joined,
    name_of,
    number,
    paragraphs,
    plain,
    share,
    stands,
)

HALF, OWN, USUAL = "half the labels", "its own labels", "usual"


def elasticity(folder: Path) -> str:
    """Figure 15: what fewer labels cost, what labels teach, and which step is best."""
    table = saved_table(folder, "fig15_label_elasticity")
    found = gains(table, "variant")
    cost, shares = lost(found, HALF, USUAL), share_lost(found, HALF, USUAL)
    # NaN where nothing was gained
    known = [f"{share(value)} ({name(cell)})" for cell, value in shares.items() if value == value]
    head = (
        f"With half the labels, at equal steps, Random lost {joined(known or ['no part'])} of its "
        f"gain, established in {counted(cost, 1, 'cell')}."
    )
    parts = {HALF: "Lost with half the labels at equal optimiser steps"}
    if OWN in set(table["variant"]):  # a replay has none
        parts[OWN] = "Lost where, after the first round, the policy answers itself"
    return paragraphs(
        headline(cost, head),
        itemised({name(c): number(found[(*c, USUAL)]) for c in cost}, "What Random gains"),
        *(itemised(_of_the_gain(found, variant), what) for variant, what in parts.items()),
        *_best_steps(table),
        power_line(cost.values(), "that cost"),
    )


def _of_the_gain(found: Mapping[tuple, np.ndarray], variant: str) -> dict[str, str]:
    shares = share_lost(found, variant, USUAL)
    return {
        name(cell): f"{number(values)}, {share(shares[cell])} of the gain"
        for cell, values in lost(found, variant, USUAL).items()
    }


def _best_steps(table: pd.DataFrame) -> Iterator[str]:
    """Measured on the figures' draw, where nothing was chosen by it."""
    steps = last_round(table[table["variant"].isin(STEPS)])
    for measure, what in (
        (measure_of(table), f"mean {measure_of(table)}"),
        ("utility", "mean true utility"),
    ):
        if measure in steps and steps[measure].notna().all():
            means = steps.groupby(["task", "model", "variant"], sort=False)[measure].mean()
            cells = dict.fromkeys((t, m) for t, m, _ in means.index)
            best = {name(cell): means[cell].idxmax() for cell in cells}
            yield itemised(best, f"The step size of the highest {what}")


def name(cell: tuple) -> str:
    """A task and a model, as sentences name them."""
    return ", ".join(cell[:2])


def the_room(folder: Path) -> str:
    """Figure 16: what full knowledge gains over Random."""
    table = saved_table(folder, "fig16_room")
    found = {name(cell): values for cell, values in room(table).items()}
    means = [f"{plain(values.mean())} ({cell})" for cell, values in found.items()]
    head = (
        "One who knew every reward, picking by the better of two rules, ended above Random in "
        f"{counted(found, 1, 'cell')}.\nThe mean room, in logits: {joined(means)}."
    )
    parts = [headline(found, head), stands(found, "Full knowledge, after the last round", "Random")]
    if "utility" in table and table["utility"].notna().all():
        true = {name(cell): values for cell, values in room(table, "utility").items()}
        parts.append(stands(true, "True utility, after the last round", "Random"))
    seen = power_line(found.values())
    return paragraphs(parts[0], _criteria(folder), *parts[1:], _pushes(folder), seen)


def _criteria(folder: Path) -> str:
    """Whether the laboratory is fit to tell strategies apart, where that was asked; else ""."""
    path = folder / "fig16_room_criteria.csv"
    return criteria.sentence(pd.read_csv(path)) if path.is_file() else ""


def _pushes(folder: Path) -> str:
    """Whose picks push the right way, where it was measured; else "". One number a seed: the mean
    over tasks, models and rounds.
    """
    if not (folder / "fig16_room_alignment.csv").is_file():
        return ""
    table = saved_table(folder, "fig16_room_alignment")
    means = table.groupby(["seed", "strategy"])["alignment"].mean().unstack()
    apart = means.drop(columns="random").sub(means["random"], axis=0)
    order = apart.mean().sort_values(ascending=False).index
    return stands(
        {name_of(str(strategy)): apart[strategy].to_numpy() for strategy in order},
        "Cosine of a batch's push with the direction that raises the reward "
        f"(Random: {plain(means['random'].mean())})",
        "Random",
    )
