"""Notebook 25's fourth look, Figure 22: ActiveDPO and Random, each at its own step size."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from activedpo_lib.study.comparisons.corrected import (
    WHENS,
    WORDS,
    cells_above,
    corrected_verdicts,
    known_measures,
)
from activedpo_lib.study.comparisons.pooled import mean_of_cells
from activedpo_lib.study.statistics import last_differences, saved_seeds, sign
from activedpo_lib.study.wording import (
    CORRECTED,
    amount,
    counted,
    itemised,
    joined,
    paragraphs,
    stands,
    under_verdicts,
    with_half,
)
from activedpo_lib.study.wording import WORDS as STANDS

NAME = "fig22_own_step"
# The variants of confirm_own_step.yaml: the two that are judged, and those beside them.
USUAL, OWN = "usual step", "own step"
SAME, PREDICTED = "own step, Random", "own step, own prediction"
USUAL_COIN, OWN_COIN, SAME_COIN = (f"{variant}, coin" for variant in (USUAL, OWN, SAME))
BESIDE = (  # what is not judged: a variant, what it is compared with, and both in words
    (OWN, SAME, "ActiveDPO at that step", "Random at that step"),
    (SAME, USUAL, "Random at that step", "Random at its own"),
    (OWN, PREDICTED, "ActiveDPO with the oracle's labels", "ActiveDPO with a predictor's labels"),
    (PREDICTED, USUAL, "ActiveDPO with a predictor's labels", "Random with the oracle's labels"),
    (OWN_COIN, USUAL_COIN, "ActiveDPO with a coin's labels", "Random so labelled, at its own step"),
    (OWN_COIN, SAME_COIN, "ActiveDPO with a coin's labels", "Random so labelled, at that step"),
)
COINS = "that with a coin's labels"
NAMES = {
    USUAL: "Random at its own step", OWN: "ActiveDPO at its own", SAME: "Random at ActiveDPO's",
    PREDICTED: "ActiveDPO at its own, with a predictor's labels",
    USUAL_COIN: "Random at its own step, with a coin's labels",
    OWN_COIN: "ActiveDPO at its own, with a coin's labels",
    SAME_COIN: "Random at ActiveDPO's, with a coin's labels",
}  # fmt: skip


def judged(results: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """ActiveDPO at its own step size against Random at Random's, after the last round: a row a
    (measure, task, model), corrected for all of them. results: of confirm_own_step.yaml, whose
    other variants are left out of the family.
    """
    family = results[results["variant"].isin([USUAL, OWN])]
    found = corrected_verdicts(family, measures, "variant", USUAL, one_family=True)
    return found[found["when"] == WHENS[0]].reset_index(drop=True)


def standing(folder: Path) -> str:
    """ "3 of 4 cells in reward and 1 of 4 cells in true utility. Both at ...": where
    ActiveDPO at its own step is above Random at Random's, then above Random at the same one, on a
    line of its own, where that was run; "" not run, or one seed.
    """
    table = saved_seeds(folder, NAME)
    return "" if table.empty else _standing(table, judged(table, known_measures(table)))


def _standing(table: pd.DataFrame, found: pd.DataFrame) -> str:
    told = [
        f"{counted(cells, 1, 'cell')} in {WORDS[measure]}"
        for measure in known_measures(table)
        if (cells := _variant(table, measure, OWN, SAME))
    ]
    same = "\nBoth at ActiveDPO's step, uncorrected, it ended above Random in"
    return f"{cells_above(found)}." + (f"{same} {joined(told)}." if told else "")


def _by_itself(table: pd.DataFrame) -> str:
    """Where it ends over all cells with a predictor's labels, against Random with the oracle's; ""
    where it was not run.
    """
    places = []
    for measure in known_measures(table):
        if cells := _variant(table, measure, PREDICTED, USUAL):
            places.append(f"{STANDS[sign(mean_of_cells(cells))]} Random in {WORDS[measure]}")
    head = "\nWith a predictor's labels, over all cells, uncorrected, it ended"
    return f"{head} {joined(places)}." if places else ""


def _by_a_coin(table: pd.DataFrame) -> str:
    """Where it ends over all cells if a coin labels both, and where the oracle's labels raise that
    difference, also with one step size for both; "" where it was not run.
    """
    places = [
        f"{STANDS[sign(mean_of_cells(coin))]} Random in {WORDS[measure]}"
        for measure in known_measures(table)
        if (coin := _variant(table, measure, OWN_COIN, USUAL_COIN))
    ]
    if not places:
        return ""
    return (
        f"\nWith a coin's labels for both, over all cells, uncorrected, it ended {joined(places)}."
        "\nWith the oracle's labels that difference is larger, established "
        f"{_larger(table, USUAL)}; both at ActiveDPO's step, {_larger(table, SAME)}."
    )


def _larger(table: pd.DataFrame, against: str) -> str:
    found = [
        WORDS[measure]
        for measure in known_measures(table)
        if sign(mean_of_cells(_earned(table, measure, OWN, against))) > 0
    ]
    return f"in {joined(found)}" if found else "in neither measure"


def _earned(table: pd.DataFrame, measure: str, variant: str, against: str) -> dict:
    """{"task, model": the difference of two variants with the oracle's labels, less the same with a
    coin's for both, (seeds,)}: what labels after the first round earn of it.
    """
    coin = _variant(table, measure, f"{variant}, coin", f"{against}, coin")
    oracle = _variant(table, measure, variant, against)
    return {cell: oracle[cell] - own for cell, own in coin.items()}


def told(folder: Path) -> list[str]:
    """The headline, the verdicts of `judged`, and beside them what is not judged; empty where it
    was not run, or has one seed.
    """
    table, parts = saved_seeds(folder, NAME), []
    if table.empty:
        return []
    found = judged(table, known_measures(table))
    for measure, own in found.groupby("measure", sort=False):
        what = f"ActiveDPO at its own step, {WORDS[str(measure)]}, difference to Random at Random's"
        verdicts = [
            (
                row["verdict"],
                f"{row['task']}, {row['model']} ({with_half(row['difference'], row['±'])})",
            )
            for row in own.to_dict("records")
        ]
        parts.append(under_verdicts(f"{what}, {CORRECTED}", verdicts))
    parts += [_not_judged(table, measure) for measure in known_measures(table)]
    head = f"Each at its own step size ({table['seed'].nunique()} seeds, corrected), ActiveDPO "
    head += f"ended above Random in {_standing(table, found)}{_by_itself(table)}"
    head += _by_a_coin(table)
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


def _not_judged(table: pd.DataFrame, measure: str) -> str:
    """ActiveDPO and Random at the same, larger step; what that step does to Random; and what the
    oracle's labels teach beyond the strategy's own predictions, and beyond a coin.
    """
    what = f"Not judged, uncorrected, {WORDS[measure]}"
    told = [
        (_variant(table, measure, variant, against), who, baseline)
        for variant, against, who, baseline in BESIDE
    ]
    told += [
        (_earned(table, measure, OWN, against), f"ActiveDPO at its own step less {whom}", COINS)
        for against, whom in ((USUAL, "Random at Random's"), (SAME, "Random at that step"))
    ]
    return paragraphs(
        *(
            stands(cells | {"over all cells": mean_of_cells(cells)}, f"{what}: {who}", baseline)
            for cells, who, baseline in told
            if cells
        )
    )


def _variant(table: pd.DataFrame, measure: str, variant: str, against: str) -> dict:
    """{"task, model": a variant's differences to another's after the last round, (seeds,)}."""
    if not {variant, against} <= set(table["variant"]):
        return {}
    apart = last_differences(table, measure, "variant", against)
    return {f"{cell[0]}, {cell[1]}": v for cell, v in apart.items() if cell[2] == variant}
