"""What notebook 27 found: which part of a criterion earns its gain, and whose labels earn that of
gradient norm and EPIG. Figures 23 and 24.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.corrected import LEVEL, holm, paired_p
from activedpo_lib.study.comparisons.pooled import over_cells
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.scarcity import controls, longer
from activedpo_lib.study.scarcity.kl_sentences import WORDS, measures_of
from activedpo_lib.study.statistics import saved_table
from activedpo_lib.study.wording import headline, joined, name_of, paragraphs, stands

# A criterion, and what is left of it without a part: {strategy: the part that it lacks}.
PARTS = {
    "upper_confidence_gap": {
        "predicted_gap": "the uncertainty",
        "uncertainty_alone": "the predicted gap",
    },
    "predicted_improvement": {
        "improvement_own_gaps": "the sum over the pool",
        "improvement_random_signs": "the predicted signs",
        "improvement_last_labels": "the earlier batches' labels",
        "improvement_random_start": "the transductive start",
    },
}
KL, RANDOM = "kl", "random"
UNITS = longer.MEASURES | {KL: "KL to pi_SFT (nats a response)"}
Cells = dict[str, np.ndarray]  # "without <a part>": differences to the whole, (seeds,)


def without(table: pd.DataFrame, whole: str, measure: str) -> Cells:
    """{"without <a part>": differences to the whole criterion after the last round, (seeds,), a
    seed's mean over tasks and models}, and Random's under its own name.
    """
    parts = PARTS[whole] | {RANDOM: ""}
    apart = over_cells(table[table["strategy"].isin([whole, *parts])], measure, whole)
    return {
        f"without {part}" if part else name_of(strategy): apart[strategy]
        for strategy, part in parts.items()
        if strategy in apart
    }


def taken_apart(results: pd.DataFrame, sizes: pd.DataFrame) -> dict[str, dict[str, Cells]]:
    """{whole: {measure: of `without`}}, of what is measured and of the KL. sizes: of
    `update_table`, the last round.
    """
    tables = dict.fromkeys(measures_of(results), results) | {KL: sizes}
    return {
        whole: {measure: without(table, whole, measure) for measure, table in tables.items()}
        for whole in PARTS
    }


def sentence(folder: Path) -> str:
    """Figure 23: two criteria without each of their parts; Figure 24: the controls."""
    table, sizes = (saved_table(folder, f"fig23_parts{part}") for part in ("", "_update_size"))
    found, measures = taken_apart(table, sizes), measures_of(table)
    said, lists = controls.answers(saved_table(folder, "fig24_more_controls"))
    heads = zip(found.values(), _lower(found, measures), strict=True)
    return paragraphs(
        *(headline(own[measures[0]], head) for own, head in heads),
        said,
        *(
            stands(
                cells, f"{name_of(whole)}, {UNITS[measure]} {controls.MEAN}", "the whole criterion"
            )
            for whole, own in found.items()
            for measure, cells in own.items()
        ),
        *_powers(found, measures),
        *lists,
    )


def _powers(found: dict[str, dict[str, Cells]], measures: list[str]) -> Iterator[str]:
    """What could have been established, at the headlines' corrected level, a line a measure."""
    seen = {m: [v for own in found.values() for v in own[m].values()] for m in measures}
    family = sum(map(len, seen.values()))
    for measure, groups in seen.items():
        yield power_line(groups, f"that mean's {WORDS[measure]}", family)


def _lower(found: dict[str, dict[str, Cells]], measures: list[str]) -> list[str]:
    """Of each criterion, whether it gains over Random at all, and without which parts it ends
    lower; all of it corrected as one family.
    """
    family = {
        (whole, measure, part): values
        for whole, own in found.items()
        for measure in measures
        for part, values in own[measure].items()
    }
    p = holm([paired_p(values) for values in family.values()])
    small = zip(family.items(), p, strict=True)
    lower = {key for (key, values), own in small if own < LEVEL and values.mean() < 0}
    return [
        _lines(whole, [key[1:] for key in lower if key[0] == whole], measures) for whole in found
    ]


def _lines(whole: str, lower: list[tuple[str, str]], measures: list[str]) -> str:
    """lower: the (measure, part) that are established to be below the whole."""
    random = name_of(RANDOM)
    over = [WORDS[measure] for measure in measures if (measure, random) in lower]
    where = joined(over) if over else "no measure"
    lines = [f"{name_of(whole)} ended above Random in {where}, over all cells, corrected"]
    for measure in measures:
        parts = [f"without {part}" for part in PARTS[whole].values()]
        gone = [part for part in parts if (measure, part) in lower]
        told = f"ended lower {joined(gone)}" if gone else "was not shown to need any of its parts"
        lines.append(f"its {WORDS[measure]} {told}")
    return "\n".join(f"{line[0].upper()}{line[1:]}." for line in lines)
