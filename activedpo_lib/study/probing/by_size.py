"""Figure 19's table by the model's size: differences to Random, their trend, and what they say."""

from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.schema import KNOWING
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.statistics import last_differences, saved_table
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
    stands,
)

BASELINE, NAME = "random", "fig19_model_size"
FOURFOLD = np.log(4.0)


def with_parameters(results: pd.DataFrame, started: pd.DataFrame) -> pd.DataFrame:
    """`results` with `parameters`, each variant's number of weights. started: of `bases`."""
    counts = started.groupby("variant", sort=False)["parameters"].first()
    return results.assign(parameters=results["variant"].map(counts))


def by_size(table: pd.DataFrame, measure: str) -> dict[str, dict[int, np.ndarray]]:
    """{chooser: {parameters: its difference to Random after the last round, (seeds,)}}."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for count, own in table.groupby("parameters", sort=True):
        for (*_, name), values in last_differences(own, measure, "strategy", BASELINE).items():
            found.setdefault(name, {})[int(count)] = values
    return found


def trend(cells: dict[int, np.ndarray]) -> np.ndarray:
    """How much a difference changes with four times the parameters, (seeds,): each seed's slope."""
    sizes = np.log(np.array(list(cells), dtype=np.float64)) / FOURFOLD
    return np.polyfit(sizes, np.stack(list(cells.values())), 1)[0]


def chosen_steps(tuning: pd.DataFrame) -> dict[str, str]:
    """{"width 48": "step x1"}: Random's largest step at which no run's true utility ended below its
    start (the rule of notebook 00), the smallest where every one falls. tuning: variants "width 48,
    step x1", the steps of a width from small to large.
    """
    keys = ["variant", "seed"]
    start = tuning[tuning["round"] == 0].set_index(keys)["utility"]
    gained = last_round(tuning).set_index(keys)["utility"] - start
    rises = (gained >= 0).groupby("variant", sort=False).all()
    found: dict[str, str] = {}
    for variant, all_rise in rises.items():
        width, step = str(variant).rsplit(", ", 1)
        if all_rise or width not in found:
            found[width] = step
    return found


def size_of(parameters: float) -> str:
    """ "0.24 million parameters"."""
    return f"{parameters / 1e6:.2g} million parameters"


def sentence(folder: Path) -> str:
    """Figure 19 in words."""
    table, started = saved_table(folder, NAME), saved_table(folder, f"{NAME}_bases")
    found = by_size(table, "reward")
    ours = {size_of(n): values for n, values in found["activedpo"].items()}
    head = [f"ActiveDPO ended above Random at {counted(ours, 1, 'size')}"]
    for name in found:
        if name.startswith(KNOWING):
            known = {size_of(n): values for n, values in found[name].items()}
            head.append(f"one who knew every reward at {counted(known, 1, 'size')}")
    measures = {"reward": "Oracle reward (logits)", "utility": "True utility (utils)"}
    parts = []
    for measure, what in measures.items():
        if table[measure].notna().all():
            for name, cells in by_size(table, measure).items():
                named = {size_of(n): values for n, values in cells.items()}
                parts.append(
                    stands(named, f"{name_of(name)}. {what} after the last round", "Random")
                )
    if len(ours) > 1:
        slopes = {name_of(name): number(trend(cells)) for name, cells in found.items()}
        parts.append(
            itemised(
                slopes, "What four times the parameters add to a reward's difference to Random"
            )
        )
    return paragraphs(
        headline(ours, f"{joined(head)}."), *parts, _where_from(started),
        power_line(found["activedpo"].values()),
    )  # fmt: skip


def _where_from(started: pd.DataFrame) -> str:
    cells = {}
    for count, own in started.groupby("parameters", sort=True):
        mean = own.mean(numeric_only=True)
        cells[size_of(float(count))] = (
            f"{plain(mean['base_loss'])} and {plain(mean['sft_loss'])} nats; effective dimension "
            f"{plain(mean['effective'], 0)} of {plain(mean['pairs'], 0)} pairs; overlap "
            f"{plain(mean['overlap'])}"
        )
    what = "Loss a token of the base and of pi_SFT on demonstrations; the first pool's gradients"
    return paragraphs(itemised(cells, what), _alike(started))


def _alike(started: pd.DataFrame) -> str:
    """Whether a larger model's gradients repeat more, or less."""
    if started["parameters"].nunique() < 2 or "seed" not in started:
        return ""
    filled = started.assign(filled=started["effective"] / started["pairs"])
    slopes = {}
    for column, what in (
        ("filled", "effective dimension, as a share of the pairs"),
        ("overlap", "overlap"),
    ):
        sizes = filled.sort_values("seed").groupby("parameters", sort=True)[column]
        slopes[what] = number(trend({int(n): own.to_numpy() for n, own in sizes}), 3)
    return itemised(slopes, "What four times the parameters add to the first pool's gradients")
