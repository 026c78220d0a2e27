"""What notebook 27 found: which part of a criterion earns its gain, and whose labels earn that of
gradient norm and EPIG. Figures 23 and 24.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.corrected import known_measures
from activedpo_lib.study.comparisons.pooled import over_cells
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.scarcity import controls
from activedpo_lib.study.scarcity.kl_sentences import WORDS
from activedpo_lib.study.scarcity.numbers import measure_of
from activedpo_lib.study.statistics import saved_table, sign
from activedpo_lib.study.wording import headline, joined, name_of, paragraphs, stands

# A criterion, and what is left of it without a part: {strategy: the part that it lacks}.
PARTS = {
    "upper_confidence_gap": {"predicted_gap": "the uncertainty", "bald": "the predicted gap"},
    "predicted_improvement": {
        "predicted_gap": "the sum over the pool",
        "improvement_random_signs": "the predicted signs",
        "improvement_last_labels": "the earlier batches' labels",
        "improvement_random_start": "the transductive start",
    },
}
TAKEN_APART = "predicted_improvement"
KL = "kl"
MEAN = "after the last round, mean over tasks and models, uncorrected"
UNITS = {
    "agreement": "Agreement with held-out answers (0 to 1)",
    "reward": "Oracle reward (logits)",
    "utility": "True utility (utils)",
    KL: "KL to pi_SFT (nats a response)",
}


def without(table: pd.DataFrame, whole: str, measure: str) -> dict[str, np.ndarray]:
    """{"without <a part>": differences to the whole criterion after the last round, (seeds,), a
    seed's mean over tasks and models}; empty where the whole was not run.
    """
    if whole not in set(table["strategy"]):
        return {}
    apart = over_cells(table[table["strategy"].isin([whole, *PARTS[whole]])], measure, whole)
    return {
        f"without {part}": apart[strategy]
        for strategy, part in PARTS[whole].items()
        if strategy in apart
    }


def parts_and_random(
    results: pd.DataFrame, sizes: pd.DataFrame, whole: str = TAKEN_APART
) -> dict[str, dict[str, np.ndarray]]:
    """{measure: {"without <a part>" or "Random": differences to the whole, (seeds,)}}, of what is
    measured, and of the KL. sizes: of `update_table`, the last round.
    """
    found = {}
    for measure, table in [*((measure, results) for measure in measures_of(results)), (KL, sizes)]:
        random = over_cells(table[table["strategy"].isin([whole, "random"])], measure, whole)
        found[measure] = without(table, whole, measure) | {name_of("random"): random["random"]}
    return found


def measures_of(table: pd.DataFrame) -> list[str]:
    """What runs are measured by, and the true utility where it is known."""
    known = [name for name in known_measures(table) if name == "utility"]
    return [measure_of(table), *known]


def which_part(table: pd.DataFrame, measure: str = "reward", wholes: Iterable[str] = PARTS) -> str:
    """Which part earns it? Every criterion without each of its parts, as a list; "" where none of
    them was run whole.
    """
    cells = {
        f"{name_of(whole)} {part}": values
        for whole in wholes
        for part, values in without(table, whole, measure).items()
    }
    what = f"Which part earns it? {UNITS[measure]} {MEAN}"
    return stands(cells, what, "the whole criterion") if cells else ""


def sentence(folder: Path) -> str:
    """Figure 23: predicted improvement without each of its parts; Figure 24: the controls."""
    table, sizes = (saved_table(folder, f"fig23_parts{part}") for part in ("", "_update_size"))
    measures = measures_of(table)
    found = {measure: without(table, TAKEN_APART, measure) for measure in measures}
    head = "\n".join(_needed(WORDS[measure], cells) for measure, cells in found.items())
    said, lists = controls.answers(saved_table(folder, "fig24_more_controls"))
    return paragraphs(
        headline(found[measures[0]], head),
        said,
        *(which_part(table, measure, (TAKEN_APART,)) for measure in measures),
        which_part(sizes, KL, (TAKEN_APART,)),
        *(power_line(cells.values(), f"that mean's {WORDS[m]}") for m, cells in found.items()),
        *lists,
    )


def _needed(word: str, cells: dict[str, np.ndarray]) -> str:
    """Without which parts it ends below the whole: "reward ends lower without x and without y"."""
    lower = [part for part, values in cells.items() if sign(values) < 0]
    fallen = (
        f"lower {joined(lower)}" if lower else "no lower, established, without any of its parts"
    )
    return f"Predicted improvement's {word} ends {fallen}."
