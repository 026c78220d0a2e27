"""One verdict a strategy: its difference to a baseline over all tasks and models at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from activedpo_lib.method.formulas import interval
from activedpo_lib.study.comparisons.corrected import WORDS, corrected_verdict, holm, paired_p
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.drawing.plots import difference_to
from activedpo_lib.study.tables import last_round


def over_cells(results: pd.DataFrame, measure: str, baseline: str) -> dict[str, np.ndarray]:
    """{strategy: (seeds,) differences to the baseline after the last round, a seed's mean over
    tasks and models}: one number a seed, so that cells that share a seed are not counted as if they
    did not.
    """
    apart = difference_to(results, measure, baseline, "strategy")
    means = last_round(apart).groupby(["strategy", "seed"], sort=False)[measure].mean()
    return {str(name): own.to_numpy() for name, own in means.groupby(level=0, sort=False)}


def mean_of_cells(cells: Mapping[Any, np.ndarray]) -> np.ndarray:
    """(seeds,): each seed's mean over cells, {name: (seeds,) each}; one number a seed."""
    return np.mean(list(cells.values()), axis=0)


def pooled_verdicts(
    results: pd.DataFrame, measures: Sequence[str], baseline: str = "random"
) -> pd.DataFrame:
    """Each strategy's mean difference to the baseline over tasks and models, a row a (strategy,
    measure): mean, ± (half the 95 % interval over seeds), p corrected (Holm, over all rows),
    verdict.
    """
    found = {
        (name, measure): values
        for measure in measures
        for name, values in over_cells(results, measure, baseline).items()
    }
    rows = pd.DataFrame(list(found), columns=["strategy", "measure"])
    rows[["mean", "±"]] = [interval(values) for values in found.values()]
    rows["p corrected"] = holm([paired_p(values) for values in found.values()])
    pairs = zip(rows["mean"], rows["p corrected"], strict=True)
    rows["verdict"] = [corrected_verdict(mean, p) for mean, p in pairs]
    return rows


def power_lines(
    results: pd.DataFrame, measures: Sequence[str], baseline: str = "random"
) -> list[str]:
    """What `pooled_verdicts` could have seen, a line a measure, at its corrected level."""
    found = {measure: over_cells(results, measure, baseline) for measure in measures}
    family = sum(len(own) for own in found.values())
    return [
        power_line(own.values(), f"that mean's {WORDS[measure]}", family)
        for measure, own in found.items()
    ]
