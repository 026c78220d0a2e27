"""Notebook 25's fourth look, Figure 22: ActiveDPO and Random, each at its own step size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.corrected import (
    WHENS,
    WORDS,
    cells_above,
    corrected_verdicts,
    known_measures,
)
from activedpo_lib.study.statistics import last_differences, sign
from activedpo_lib.study.wording import WORDS as STANDS
from activedpo_lib.study.wording import (
    amount,
    itemised,
    joined,
    paragraphs,
    stands,
    under_verdicts,
)
from activedpo_lib.study.wording import counted as counted_cells

NAME = "fig22_own_step"
# The variants of confirm_own_step.yaml: the two that are judged, and two beside them.
USUAL, OWN = "usual step", "own step"
SAME, PREDICTED = "own step, Random", "own step, own prediction"
BESIDE = (  # what is not judged: a variant, what it is compared with, and both in words
    (OWN, SAME, "ActiveDPO at that step", "Random at that step"),
    (SAME, USUAL, "Random at that step", "Random at its own"),
    (OWN, PREDICTED, "ActiveDPO with the oracle's labels", "ActiveDPO with its own predictions"),
    (PREDICTED, USUAL, "ActiveDPO with its own predictions", "Random with the oracle's labels"),
)
NAMES = {
    USUAL: "Random at its own step", OWN: "ActiveDPO at its own", SAME: "Random at ActiveDPO's",
    PREDICTED: "ActiveDPO at its own, with its own predictions",
}  # fmt: skip


def judged(results: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """ActiveDPO at its own step size against Random at Random's, after the last round: a row a
    (measure, task, model), corrected for all of them. results: of confirm_own_step.yaml, whose
    other variants are left out of the family.
    """
    family = results[results["variant"].isin([USUAL, OWN])]
    found = corrected_verdicts(family, measures, "variant", USUAL, one_family=True)
    return found[found["when"] == WHENS[0]].reset_index(drop=True)


def counted(folder: Path) -> str:
    """ "3 of 4 cells in reward and 1 of 4 cells in true utility": where ActiveDPO at its own step
    is above Random at Random's; "" not run, or one seed.
    """
    table = _fourth_look(folder)
    return "" if table.empty else cells_above(judged(table, known_measures(table)))


def same_step(folder: Path) -> str:
    """ "At that step for both, uncorrected, it ended above Random in ...", on a line of its own; ""
    where Random was not run at it.
    """
    table, told = _fourth_look(folder), []
    for measure in [] if table.empty else known_measures(table):
        if cells := _variant(table, measure, OWN, SAME):
            told.append(f"{counted_cells(cells, 1, 'cell')} in {WORDS[measure]}")
    head = "\nAt that step for both, uncorrected, it ended above Random in"
    return f"{head} {joined(told)}." if told else ""


def _by_itself(table: pd.DataFrame) -> str:
    """Where it ends over all cells with labels of its own predictions; "" where it was not run."""
    places = []
    for measure in known_measures(table):
        if cells := _variant(table, measure, PREDICTED, USUAL):
            word = STANDS[sign(np.mean(list(cells.values()), axis=0))].removesuffix(" with")
            places.append(f"{word} in {WORDS[measure]}")
    head = "\nLabelled by its own predictions it ended, against Random at Random's step,"
    return f"{head} {joined(places)}." if places else ""


def _fourth_look(folder: Path) -> pd.DataFrame:
    """The fourth look's table; empty where it was not run, or has one seed."""
    path = folder / f"{NAME}.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return table if not table.empty and table["seed"].nunique() > 1 else pd.DataFrame()


def told(folder: Path) -> list[str]:
    """The headline, the verdicts of `judged`, and beside them what is not judged; empty where it
    was not run, or has one seed.
    """
    table, parts = _fourth_look(folder), []
    if table.empty:
        return []
    for measure, own in judged(table, known_measures(table)).groupby("measure", sort=False):
        what = f"ActiveDPO at its own step, {WORDS[str(measure)]}, difference to Random at Random's"
        verdicts = [
            (row["verdict"], f"{row['task']}, {row['model']} ({_difference(row)})")
            for row in own.to_dict("records")
        ]
        parts.append(under_verdicts(f"{what}, corrected verdict", verdicts))
    parts += [_not_judged(table, measure) for measure in known_measures(table)]
    head = f"ActiveDPO at its own step size ({table['seed'].nunique()} seeds, corrected) ended "
    head += f"above Random at Random's in {counted(folder)}."
    head += same_step(folder) + _by_itself(table)
    return [f"**{head}**", *parts, _moved(folder)]


def _moved(folder: Path) -> str:
    """How far the policies of the fourth look went, where it was measured: KL to pi_SFT."""
    path = folder / f"{NAME}_update_size.csv"
    sizes = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    if sizes.empty:
        return ""
    variants = sizes.groupby(["variant", "seed"], sort=False)["kl"].mean()
    found = {
        NAMES[str(variant)]: amount(own.to_numpy(), 2)
        for variant, own in variants.groupby(level=0, sort=False)
    }
    return itemised(found, "KL to pi_SFT after the last round (nats a response), mean over cells")


def _difference(row: dict) -> str:
    return f"{row['difference']:+.2f} ± {row['±']:.2f}"


def _not_judged(table: pd.DataFrame, measure: str) -> str:
    """ActiveDPO and Random at the same, larger step; what that step does to Random; and what the
    oracle's labels teach beyond the strategy's own predictions.
    """
    what = f"Not judged, uncorrected, {WORDS[measure]}"
    beside = [
        stands(cells, f"{what}: {who}", baseline)
        for variant, against, who, baseline in BESIDE
        if (cells := _variant(table, measure, variant, against))
    ]
    return paragraphs(*beside)


def _variant(table: pd.DataFrame, measure: str, variant: str, against: str) -> dict:
    """{"task, model": a variant's differences to another's after the last round, (seeds,)}."""
    if not {variant, against} <= set(table["variant"]):
        return {}
    apart = last_differences(table, measure, "variant", against)
    return {f"{cell[0]}, {cell[1]}": v for cell, v in apart.items() if cell[2] == variant}
