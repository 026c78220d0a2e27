"""What notebooks 19, 20 and 25 found at equal KL: what a strategy gains where Random has moved as
far, and how far each moves the policy.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.corrected import WORDS as KNOWN
from activedpo_lib.study.comparisons.corrected import (
    corrected_verdict,
    count_above,
    holm,
    paired_p,
)
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.scarcity.equal_kl import PLACEBO, by_cell, less_placebo, over_cells
from activedpo_lib.study.statistics import saved_seeds, saved_table, sign
from activedpo_lib.study.wording import (
    CORRECTED,
    joined,
    name_of,
    number,
    paragraphs,
    stands,
    under_verdicts,
)
from activedpo_lib.study.wording import WORDS as STANDS

WORDS = KNOWN | {"agreement": "agreement with people"}  # a replay's
NOT_JUDGED = "not judged: Random did not go so far"
Key = tuple[str, str, str, str]  # strategy, measure, task, model


def at_equal_kl(
    folder: Path, name: str = "fig17_controls_equal_kl", variant: str = "oracle"
) -> list[str]:
    """The headline, corrected over all strategies, cells and measures, then each comparison with
    its corrected verdict, the placebo, and the power, of a saved table of `beyond_random`; empty
    where it was not measured, or with one seed.
    """
    table = saved_seeds(folder, name)
    if table.empty:
        return []
    found = compared(table, variant)
    verdicts, seeds = judged(found), table["seed"].nunique()
    lists = [
        _verdicts(
            {f"{k[2]}, {k[3]}": (found[k], verdicts[k]) for k in found if k[:2] == pair},
            f"{name_of(pair[0])} at equal KL, {WORDS[pair[1]]}",
            seeds,
        )
        for pair in dict.fromkeys(key[:2] for key in found)
    ]
    beyond = {measure: _beyond_placebo(table, measure, variant) for measure in measures_of(table)}
    less = [_less_placebo(own, measure) for measure, own in beyond.items()]
    head = _headline(verdicts, seeds, _beside_placebo(beyond))
    return [head, *lists, *_placebo(table, variant), *less, *_powers(found)]


def _powers(found: dict[Key, np.ndarray]) -> Iterator[str]:
    """What could have been seen in a cell, a line a measure, as the verdicts are corrected."""
    for measure in dict.fromkeys(key[1] for key in found):
        seen = [v for key, v in found.items() if key[1] == measure and len(v) > 1]
        if seen:
            yield power_line(seen, f"a cell's {WORDS[measure]}", len(found))


def measures_of(table: pd.DataFrame) -> list[str]:
    """Those of WORDS that a table has."""
    return [name for name in WORDS if name in table and table[name].notna().any()]


def compared(table: pd.DataFrame, variant: str) -> dict[Key, np.ndarray]:
    """{(strategy, measure, task, model): differences (seeds,)}; none where it is not judged."""
    return {
        (strategy, measure, *cell): values
        for strategy in dict.fromkeys(table["strategy"])
        if strategy != PLACEBO
        for measure in measures_of(table)
        for cell, values in by_cell(table, strategy, measure, variant).items()
    }


def judged(found: dict[Key, np.ndarray]) -> dict[Key, str]:
    """Each comparison's verdict, corrected for all of them; what cannot be judged counts too."""
    p = [paired_p(values) if len(values) > 1 else 1.0 for values in found.values()]
    return {
        key: corrected_verdict(values.mean(), own) if len(values) > 1 else NOT_JUDGED
        for (key, values), own in zip(found.items(), holm(p), strict=True)
    }


def _verdicts(cells: dict[str, tuple[np.ndarray, str]], what: str, seeds: int) -> str:
    """Numbers under their corrected verdicts; of how many seeds, where not all were compared."""
    told = []
    for name, (values, verdict) in cells.items():
        few = f", {len(values)} of {seeds} seeds" if len(values) < seeds else ""
        told.append((verdict, f"{name} ({number(values)}{few})" if len(values) > 1 else name))
    return under_verdicts(f"{what}, difference to Random, {CORRECTED}", told)


def _placebo(table: pd.DataFrame, variant: str) -> Iterator[str]:
    """What Random's own usual run gains by this comparison, with that run held out."""
    for measure in measures_of(table):
        cells = {
            f"{task}, {model}": values
            for (task, model), values in by_cell(table, PLACEBO, measure, variant).items()
            if len(values) > 1
        }
        if cells:
            what = f"Placebo: Random's usual run, held out, {WORDS[measure]}, uncorrected"
            yield stands(cells, what, "Random's other step sizes")


def _beyond_placebo(table: pd.DataFrame, measure: str, variant: str) -> dict[str, np.ndarray]:
    """`less_placebo`, of those that share two seeds with it or more."""
    found = less_placebo(table, measure, variant)
    return {name: values for name, values in found.items() if len(values) > 1}


def _less_placebo(beyond: dict[str, np.ndarray], measure: str) -> str:
    """What each strategy gains beyond the placebo, over all cells; "" without one."""
    if PLACEBO not in beyond:
        return ""
    what = f"At equal KL, {WORDS[measure]}, mean over tasks and models, uncorrected"
    what += f"; the placebo's own is {number(beyond[PLACEBO])}"
    cells = {name_of(n): values for n, values in beyond.items() if n != PLACEBO}
    return stands(cells, what, "the placebo")


def _beside_placebo(beyond: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """A line a strategy: where it is above the placebo, or not, over all cells. beyond: a measure's
    `_beyond_placebo`.
    """
    places: dict[str, list[str]] = {}
    for measure, found in beyond.items():
        for strategy, values in found.items():
            where = f"{STANDS[sign(values)]} the placebo in {WORDS[measure]}"
            places.setdefault(strategy, []).append(where)
    return [
        f"{name_of(strategy)}, over all cells, uncorrected, ended {joined(own)}"
        for strategy, own in places.items()
        if strategy != PLACEBO
    ]


def _headline(verdicts: dict[Key, str], seeds: int, beside: list[str]) -> str:
    """A line a strategy, so that none holds the numbers of two; then its place to the placebo."""
    told = []
    for strategy in dict.fromkeys(key[0] for key in verdicts):
        counts = [
            count_above([v for k, v in verdicts.items() if k[:2] == (strategy, m)], WORDS[m])
            for m in dict.fromkeys(key[1] for key in verdicts)
        ]
        told.append(f"{name_of(strategy)} ended above Random in {joined(counts)}")
    told += beside
    lines = ".\n".join([told[0], *(line[0].upper() + line[1:] for line in told[1:])])
    return f"**At equal KL ({seeds} seeds, corrected), {lines}.**"


def strategies_at_equal_kl(folder: Path) -> str:
    """Figure 20: every strategy at Random's distance, mean over tasks and models, a measure's
    verdicts corrected for all strategies; first who is above Random in every measure. "" not
    measured, or of one seed.
    """
    table = saved_seeds(folder, "fig20_equal_kl")
    if table.empty:
        return ""
    measures, lists = measures_of(table), []
    above: list[set[str]] = []
    beyond: list[set[str]] = []
    for measure in measures:
        cells = _all_strategies(table, measure)
        above.append({name for name, (_, verdict) in cells.items() if verdict == "above Random"})
        what = f"At equal KL, {WORDS[measure]}, mean over tasks and models"
        lists.append(_verdicts(cells, what, table["seed"].nunique()))
        less = _beyond_placebo(table, measure, "usual")
        lists.append(_less_placebo(less, measure))
        beyond.append({name_of(name) for name, values in less.items() if sign(values) > 0})
        seen = [values for values, _ in cells.values()]
        lists.append(power_line(seen, f"that mean's {WORDS[measure]}", len(cells)))
    both = [name for name in cells if all(name in names for names in above)]
    who = joined(both) if both else "no strategy"
    where = joined([WORDS[measure] for measure in measures])
    seeds = table["seed"].nunique()
    head = f"At equal KL, over all cells, {seeds} seeds, above Random in {where}, corrected: {who}."
    if both and PLACEBO in set(table["strategy"]):
        kept = [name for name in both if all(name in names for names in beyond)]
        head += f"\nAbove the placebo too, uncorrected: {joined(kept) if kept else 'none of them'}."
    return paragraphs(f"**{head}**", *lists)


def _all_strategies(table: pd.DataFrame, measure: str) -> dict[str, tuple[np.ndarray, str]]:
    """{strategy: (its differences (seeds,), its corrected verdict)}, the largest mean first."""
    found = {name: kl for name, (_, kl) in over_cells(table, measure, "usual").items()}
    names = sorted(found, key=lambda name: found[name].mean(), reverse=True)
    p = holm([paired_p(found[name]) for name in names])
    return {
        name_of(name): (found[name], corrected_verdict(found[name].mean(), own))
        for name, own in zip(names, p, strict=True)
    }


def moved(folder: Path) -> Iterator[str]:
    """How far the policies moved, where it was measured: KL to pi_SFT, and Random's at its larger
    step; with the reward and the truth there.
    """
    name = "fig17_controls_update_size"
    if not (folder / f"{name}.csv").is_file():
        return
    sizes, keys = saved_table(folder, name), ["task", "model", "seed"]
    if sizes.empty:
        return
    usual = sizes[sizes["variant"] == "oracle"].set_index(keys)
    random = usual[usual["strategy"] == "random"]
    larger = sizes[(sizes["variant"] == "step x2") & (sizes["strategy"] == "random")]
    compared = {
        name_of(n): own for n, own in usual.groupby("strategy", sort=False) if n != "random"
    }
    compared["Random, step x2"] = larger.set_index(keys)
    for column, what in (
        ("kl", "KL to pi_SFT (nats a response)"),
        ("reward", "Oracle reward (logits)"),
        ("utility", "True utility"),
    ):
        if column in sizes and sizes[column].notna().all():
            cells = {
                f"{who}, {task}, {model}": apart.to_numpy()
                for who, own in compared.items()
                for (task, model), apart in (own[column] - random[column]).groupby(
                    level=["task", "model"], sort=False
                )
            }
            label = f"{what} after the last round, uncorrected"
            yield stands(cells, label, "Random at the usual step")
