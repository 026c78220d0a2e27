"""What notebook 20 found of the distance from pi_SFT: how far each strategy moves the policy, and
what it gains where Random has moved as far.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.corrected import corrected_verdict, holm, paired_p
from activedpo_lib.study.scarcity.equal_kl import by_cell, over_cells
from activedpo_lib.study.statistics import saved_table
from activedpo_lib.study.wording import joined, name_of, number, paragraphs, stands

WORDS = {"reward": "reward", "utility": "true utility", "agreement": "agreement with people"}


def at_equal_kl(
    folder: Path, name: str = "fig17_controls_equal_kl", variant: str = "oracle"
) -> list[str]:
    """The headline, corrected over all strategies, cells and measures, then each comparison, of a
    saved table of `beyond_random`; empty where it was not measured, or with one seed.
    """
    if not (folder / f"{name}.csv").is_file():
        return []
    table = saved_table(folder, name)
    if table["seed"].nunique() < 2:
        return []
    found = _compared(table, variant)
    p = holm([paired_p(values) for values in found.values()])
    verdicts = {
        key: corrected_verdict(values.mean(), own)
        for (key, values), own in zip(found.items(), p, strict=True)
    }
    lists = [
        stands(
            {f"{task}, {model}": v for (n, m, task, model), v in found.items() if (n, m) == key},
            f"{name_of(key[0])} at equal KL, {WORDS[key[1]]}",
            "Random",
        )
        for key in dict.fromkeys(key[:2] for key in found)
    ]
    return [_headline(verdicts, table["seed"].nunique()), *lists]


def _compared(table: pd.DataFrame, variant: str) -> dict[tuple[str, str, str, str], np.ndarray]:
    """{(strategy, measure, task, model): differences (seeds,)}."""
    return {
        (strategy, measure, *cell): values
        for strategy in dict.fromkeys(table["strategy"])
        for measure in WORDS
        if measure in table and table[measure].notna().any()
        for cell, values in by_cell(table, strategy, measure, variant).items()
    }


def _headline(verdicts: dict[tuple[str, str, str, str], str], seeds: int) -> str:
    told = []
    for strategy in dict.fromkeys(key[0] for key in verdicts):
        counts = []
        for measure, word in WORDS.items():
            own = [v for (n, m, *_), v in verdicts.items() if (n, m) == (strategy, measure)]
            below = own.count("below Random")
            also = f" (below in {below})" if below else ""
            if own:
                counts.append(f"{own.count('above Random')} of {len(own)} in {word}{also}")
        told.append(f"{name_of(strategy)} in {joined(counts)}")
    return f"**At equal KL on {seeds} seeds, cells above Random, corrected: {'; '.join(told)}.**"


def strategies_at_equal_kl(folder: Path) -> str:
    """Figure 20: every strategy at Random's distance, over all tasks and models, corrected for all
    of them; "" not measured, or of one seed.
    """
    if not (folder / "fig20_equal_kl.csv").is_file():
        return ""
    table = saved_table(folder, "fig20_equal_kl")
    if table["seed"].nunique() < 2:
        return ""
    parts = []
    for measure in (name for name in WORDS if name in table and table[name].notna().any()):
        found = over_cells(table, measure, "usual")
        names = sorted(found, key=lambda name: found[name].mean(), reverse=True)
        p = holm([paired_p(found[name]) for name in names])
        verdicts = [
            corrected_verdict(found[name].mean(), own) for name, own in zip(names, p, strict=True)
        ]
        each = {verdict: [] for verdict in dict.fromkeys(verdicts)}
        for name, verdict in zip(names, verdicts, strict=True):
            each[verdict].append(f"{name_of(name)} ({number(found[name])})")
        lines = [f"- {word[0].upper()}{word[1:]}: {'; '.join(own)}." for word, own in each.items()]
        head = f"At equal KL, {WORDS[measure]}, mean over tasks and models, corrected verdict:\n"
        parts.append("\n".join([head, *lines]))
    return paragraphs(*parts)


def moved(folder: Path) -> Iterator[str]:
    """How far the policies moved, where it was measured: KL to pi_SFT, and Random's at its larger
    step; with the reward and the truth there.
    """
    name = "fig17_controls_update_size"
    if not (folder / f"{name}.csv").is_file():
        return
    sizes, keys = saved_table(folder, name), ["task", "model", "seed"]
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
        if sizes[column].notna().all():
            cells = {
                f"{who}, {task}, {model}": apart.to_numpy()
                for who, own in compared.items()
                for (task, model), apart in (own[column] - random[column]).groupby(
                    level=["task", "model"], sort=False
                )
            }
            yield stands(cells, f"{what} after the last round", "Random at the usual step")
