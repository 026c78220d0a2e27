"""What each notebook found, as a function of the folder of its tables: sentences and numbers.

Every number is read from *.csv, and every above, below and level follows from a 95 % interval over
seeds, so that a sentence stays true when the figures are made again.
"""

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study import sentences_beyond as beyond
from activedpo_lib.study import statistics
from activedpo_lib.study.comparisons import fresh
from activedpo_lib.study.comparisons.pooled import mean_of_cells, over_cells
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.probing import by_size, picks
from activedpo_lib.study.scarcity import controls, parts
from activedpo_lib.study.scarcity import sentences as scarcity
from activedpo_lib.study.scarcity.numbers import share_of_room
from activedpo_lib.study.statistics import effects, last_differences, saved_table, sign
from activedpo_lib.study.tables import last_round
from activedpo_lib.study.wording import (
    REWARD,
    amount,
    compared,
    counted,
    headline,
    itemised,
    name_of,
    number,
    paragraphs,
    plain,
    share,
    stands,
)

WIN_RATE = "Win-rate after the last round (0 to 1)"


def main_results(folder: Path) -> str:
    """Figures 1 and 5: ActiveDPO against Random, then the others."""
    measured = {
        "reward": ("fig1_reward", REWARD),
        "win_rate": ("fig5_win_rate", WIN_RATE),
    }
    parts = []
    for measure, (name, what) in measured.items():
        table = saved_table(folder, name)
        found = last_differences(table, measure, "strategy", "random")
        cells = {f"{t}, {m}": v for (t, m, s), v in found.items() if s == "activedpo"}
        count = counted(cells, 1, "cell")
        over = compared(mean_of_cells(cells), "Random's")
        head = (
            f"ActiveDPO's {measure.replace('_', '-')} ended above Random's in {count}, and over "
            f"all of them {over}{_of_the_room(folder, found, measure)}."
        )
        head += _labels_saved(table) if measure == "reward" else ""
        parts += [headline(cells, head), stands(cells, what, "Random")]
    every = effects(folder, "fig1_reward", "reward", "strategy", "random")
    own, rest = (
        {n: values for n, values in every.items() if n.startswith("ActiveDPO") is wanted}
        for wanted in (True, False)
    )
    pooled = over_cells(saved_table(folder, "fig1_reward"), "reward", "random")
    named = {name_of(name): values for name, values in pooled.items()}
    return paragraphs(
        *parts,
        stands(named, f"{REWARD}, mean over tasks and models", "Random"),
        stands(rest, f"{REWARD}, the other strategies", "Random"),
        power_line(own.values()),
    )


def _labels_saved(table: pd.DataFrame) -> str:
    """The paper's claim in its own unit: by how many labels ActiveDPO is ahead of Random."""
    saved = amount(statistics.labels_saved(table, "reward")["activedpo"], 1)
    return (
        f"\nOver all cells it first reached the reward that Random ends with {saved} labels before "
        f"Random itself first did, of {table['labels'].max()}."
    )


def _of_the_room(folder: Path, found: Mapping[tuple, np.ndarray], measure: str) -> str:
    """ActiveDPO's gain as a share of the room, where that was measured: it is one of reward."""
    cells = {(t, m): values for (t, m, s), values in found.items() if s == "activedpo"}
    part = share_of_room(folder, cells) if measure == "reward" else math.nan
    return "" if math.isnan(part) else f", {share(part)} of the room"


def model_dependence(folder: Path) -> str:
    """Figure 2: the interaction's test, and each model's best subset."""
    final = last_round(saved_table(folder, "fig2_model_dependence"))
    tests = statistics.interactions(final)
    if tests["p"].isna().any():
        return "One seed: whether models need different data cannot be tested."
    found = {}
    for row in tests.to_dict("records"):
        most, seed = row["highest without one"], row["carried by"]
        left = "" if most != most else f"; without seed {seed} p = {most:.2f}, the highest"
        found[row["measure"].replace("_", "-")] = f"p = {row['p']:.3f}{left}"
    means = final.groupby(["model_name", "subset"])["reward"].mean()
    best = {m: f"{means[m].idxmax()} ({plain(means[m].max())})" for m in means.index.levels[0]}
    shown = f"{(tests['p'] < 0.05).sum() or 'none'} of {len(tests)} measures"
    ends = final.set_index(["model_name", "subset", "seed"])["reward"].unstack("seed")
    apart = [
        (one - other).to_numpy()
        for _, own in ends.groupby(level="model_name")
        for (_, one), (_, other) in combinations(own.iterrows(), 2)
    ]
    return paragraphs(
        f"**Model and data interact in {shown}, at p < 0.05.**",
        itemised(found, "The test over all seeds, and with one seed left out"),
        itemised(best, "Where each model's mean oracle reward (logits) is highest"),
        power_line(apart, "reward between two subsets"),
    )


def normalisation(folder: Path) -> str:
    """Figure 3: the four normalisations, lengths, and what labels taught."""
    cells = effects(folder, "fig3_normalisation", "reward", "variant", "response")
    table = saved_table(folder, "fig3_normalisation_picks")
    longer = table["length"] - table["pool length"]
    cut = longer.groupby([table["task"], table["variant"]])
    none = {t: number(v.to_numpy(), 1) for (t, variant), v in cut if variant == "none"}
    ranks = picks.length_correlations(saved_table(folder, "fig3_normalisation_gradients"))
    signs = {
        row["task"]: f"{plain(row['sum'])} for the sum over tokens, "
        f"{plain(row['mean over tokens'])} for their mean"
        for row in ranks.to_dict("records")
    }
    taught = saved_table(folder, "fig3_normalisation_taught").groupby(
        ["task", "labels on"], sort=False
    )
    right = {f"{t}, {way}": share(own["agreement"].mean()) for (t, way), own in taught}
    head = f"{counted(cells, -1, 'other way')} ended below normalising each response."
    return paragraphs(
        headline(cells, head),
        stands(cells, REWARD, "normalising each response"),
        power_line(cells.values()),
        itemised(none, "Picks without normalisation are longer than their pool, in tokens, by"),
        itemised(signs, "Rank correlation of a response's length and its gradient's norm"),
        itemised(right, "Share of the other pairs ordered right, after labels on such pairs"),
    )


def projection(folder: Path) -> str:
    """Figures 4 and 11: sizes and kinds of the projection."""
    cells = effects(folder, "fig4_projection", "reward", "variant", "fold")
    quality = saved_table(folder, "fig11_projection_quality")
    kind = quality["kind"].iloc[0]
    means = quality[quality["kind"] == kind].groupby("dimensions")["share"].mean()
    shares = {f"{d} dimensions": f"{value:.3f}" for d, value in means.items()}
    if "chance" in quality:
        shares["a random batch"] = f"{quality['chance'].iloc[0]:.3f}"
    differ = sum(sign(values) != 0 for values in cells.values()) or "None"
    head = f"{differ} of {len(cells)} other sizes and kinds was shown to differ from the default"
    return paragraphs(
        headline(cells, f"{head} in reward."),
        stands(cells, REWARD, "the default"),
        power_line(cells.values()),
        itemised(shares, f"Log-determinant of the {kind}'s picks, that of exact picks being 1"),
    )


def proposition(folder: Path) -> str:
    """Figure 6: uncertainty and error, and what the bound covers."""
    table = saved_table(folder, "fig6_proposition_1")
    later = table[table["round"] > 1].groupby(["task", "criterion", "seed"])["correlation"].mean()
    tasks = list(dict.fromkeys(table["task"]))
    own = {t: later[t, "uncertainty"].to_numpy() for t in tasks}
    norm = {t: own[t] - later[t, "gradient norm"].to_numpy() for t in tasks}
    network = saved_table(folder, "fig6_proposition_1_network")
    checked = network[network["checked"]] if "checked" in network else network
    active = checked[checked["strategy"] == "activedpo"]
    count = counted(own, 1, "task")
    return paragraphs(
        headline(own, f"Uncertainty ranks pairs by the reward's error above chance in {count}."),
        stands(own, "Rank correlation of uncertainty and error (chance is 0)", "chance"),
        stands(norm, "The same correlation", "the gradient norm's"),
        power_line(own.values(), "that correlation"),
        _beyond_gap(folder),
        "In the proposition's own setting the bound was fitted to hold for "
        f"{share(active['level'].iloc[0])} of pairs. It holds for "
        f"{share(active['coverage'].mean())} of held-out pairs.",
    )


def _beyond_gap(folder: Path) -> str:
    if not (folder / "fig6_proposition_1_beyond.csv").is_file():
        return ""
    table = saved_table(folder, "fig6_proposition_1_beyond")
    later = table[table["round"] > 1].groupby(["task", "measure", "seed"], sort=False)
    cells = later["beyond the gap"].mean().groupby(["task", "measure"], sort=False)
    found = {", ".join(cell): own.to_numpy() for cell, own in cells}
    what = "Rank correlation of uncertainty and error beyond the true gap (chance is 0)"
    return stands(found, what, "chance")


SENTENCES: dict[str, Callable[[Path], str]] = {
    "06_label_elasticity": scarcity.elasticity,
    "07_room": scarcity.the_room,
    "08_main_results": main_results,
    "10_model_dependence": model_dependence,
    "11_normalisation": normalisation,
    "12_projection": projection,
    "13_proposition_1": proposition,
    "14_v_ablation": beyond.v_ablation,
    "15_costs": beyond.costs,
    "16_forgetting": beyond.forgetting,
    "17_what_was_picked": beyond.what_was_picked,
    "18_when_does_it_pay": beyond.when_it_pays,
    "19_all_strategies": beyond.all_strategies,
    "20_is_it_the_labels": controls.is_it_the_labels,
    "21_replay": beyond.replay,
    "22_decisions": beyond.decisions,
    "25_fresh_seeds": fresh.sentence,
    "26_model_size": by_size.sentence,
    "27_which_part": parts.sentence,
}
