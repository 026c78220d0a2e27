"""What tables of runs say: signs by their intervals, Figure 2's interaction, the numbers behind
Figures 8, 10, 12 and 14. Tables in, tables and arrays out.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.method.formulas import interval
from activedpo_lib.streams import Stream, stream
from activedpo_lib.study.drawing.plots import LABELS, difference_to
from activedpo_lib.study.tables import last_and_mean, last_round

EXACT = 2**20  # sign patterns that are all tried: up to 21 seeds
DRAWN = 2**16  # beyond that, random ones
CHUNK = 2**14
SPENT = ("seconds_generate", "seconds_measure", "seconds_select", "seconds_train")


def sign(values: np.ndarray) -> int:
    """+1 or -1 where the 95 % interval of the mean over seeds leaves out zero, else 0: level, or a
    single seed, which establishes nothing. values: (seeds,).
    """
    mean, half = interval(values)
    return int(np.sign(mean)) if abs(mean) > half else 0


def interaction(values: np.ndarray, randomness: Stream | None = None) -> tuple[np.ndarray, float]:
    """Does one factor's effect depend on the other? A permutation test over seeds (Fig. 2).

    values: (seeds, rows, columns), every cell of the cross table for every seed. The statistic is
    the squared length of the mean interaction contrasts (what is left of a seed's table without row
    and column means); under no interaction a seed's contrasts are as likely with the opposite sign.
    Up to 21 seeds every pattern of signs is tried: p is exact. Beyond, 65,536 patterns are drawn
    from `randomness` (by default the stream named "interaction") and the observed one is counted
    among them. Returns (contrasts (rows, columns), p); p is NaN for one seed.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 3:
        raise ValueError(f"interaction takes (seeds, rows, columns), got shape {values.shape}")
    left = values - values.mean(2, keepdims=True) - values.mean(1, keepdims=True)
    left += values.mean((1, 2), keepdims=True)
    contrasts, seeds = left.mean(0), len(values)
    if seeds < 2:
        return contrasts, float("nan")
    least = np.square(contrasts).sum() * (1 - 1e-12)
    patterns = 2 ** (seeds - 1)  # a sign for all seeds together changes nothing
    if patterns <= EXACT:
        starts = range(0, patterns, CHUNK)
        signs = (_sign_patterns(np.arange(s, min(s + CHUNK, patterns)), seeds) for s in starts)
        return contrasts, sum(_as_large(part, left, least) for part in signs) / patterns
    rng = (randomness or stream(0, "interaction")).numpy()
    signs = (rng.choice([-1, 1], (CHUNK, seeds)) for _ in range(DRAWN // CHUNK))
    return contrasts, (1 + sum(_as_large(part, left, least) for part in signs)) / (1 + DRAWN)


def _sign_patterns(numbers: np.ndarray, seeds: int) -> np.ndarray:
    return 1 - 2 * (numbers[:, None] >> np.arange(seeds) & 1)


def _as_large(signs: np.ndarray, left: np.ndarray, least: float) -> int:
    means = np.tensordot(signs / len(left), left, 1)
    return int((np.square(means).sum((1, 2)) >= least).sum())


def cross_table(final: pd.DataFrame, measure: str) -> np.ndarray:
    """Figure 2's table, (seeds, models, subsets), from one row a (seed, model_name, subset)."""
    cross = final.pivot_table(index=["seed", "model_name"], columns="subset", values=measure)
    shape = (*(level.size for level in cross.index.levels), cross.columns.size)
    return cross.to_numpy().reshape(shape)


def interactions(final: pd.DataFrame, measures: tuple = ("reward", "win_rate")) -> pd.DataFrame:
    """Figure 2's test, a row a measure: `p` over all seeds, the smallest p possible, and the
    lowest and highest p with one seed left out; `carried by`: the seed without which p is highest.
    final: one row a (seed, model_name, subset).
    """
    rows = []
    for measure in measures:
        values, seeds = cross_table(final, measure), np.sort(final["seed"].unique())
        without = [interaction(np.delete(values, at, 0))[1] for at in range(len(values))
                   if len(values) > 1]  # fmt: skip
        found = np.array([p for p in without if not math.isnan(p)])
        row = {"measure": measure, "p": interaction(values)[1], "smallest": 2.0 ** (1 - len(seeds))}
        row |= {"lowest without one": found.min(initial=1.0) if len(found) else math.nan}
        row |= {"highest without one": found.max() if len(found) else math.nan}
        rows.append(row | {"carried by": seeds[np.argmax(found)] if len(found) else None})
    return pd.DataFrame(rows)


def conditions(table: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{variant: ActiveDPO - Random in reward after the last round, and over rounds, (seeds,) each}
    (Fig. 12). Each variant's own last round counts: batches of other sizes have other rounds.
    """
    difference = difference_to(table, "reward")
    difference = difference[difference["strategy"] == "activedpo"]
    names = dict.fromkeys(difference["variant"])
    return {n: last_and_mean(difference[difference["variant"] == n], "reward") for n in names}


def with_usual_random(results: pd.DataFrame, swept: pd.DataFrame) -> pd.DataFrame:
    """`results` and the swept variants, each beside the usual Random: it reads no ridge (D2)."""
    usual = results[(results["variant"] == "usual") & (results["strategy"] == "random")]
    copies = [usual.assign(variant=variant) for variant in dict.fromkeys(swept["variant"])]
    return pd.concat([results, swept, *copies], ignore_index=True)


def with_costs(results: pd.DataFrame, flops: Mapping[tuple, list[float]]) -> pd.DataFrame:
    """`results` with what each run has spent so far, evaluation left out: `wall` in seconds, and
    `flops`. flops: {(task, strategy): FLOP of each round}.
    """
    wall = results[[name for name in SPENT if name in results]].fillna(0.0).sum(axis=1)
    keys = ["task", "strategy", "seed"]
    found = results.assign(wall=wall.groupby([results[key] for key in keys]).cumsum())
    so_far = {cell: np.concatenate([[0.0], np.cumsum(each)]) for cell, each in flops.items()}
    cells = zip(found["task"], found["strategy"], found["round"], strict=True)
    return found.assign(flops=[so_far[task, name][t] for task, name, t in cells])


def bill(spent: pd.DataFrame, cents_per_label: float, cents_per_hour: float) -> pd.DataFrame:
    """A whole run's cost, a row a strategy, mean over seeds: labels and machine in dollars, time
    and operations as multiples of Random's. spent: of `with_costs`.
    """
    last = last_round(spent)
    means = last.groupby("strategy", sort=False)[["labels", "wall", "flops", "reward"]].mean()
    return means.assign(
        **{
            "labels, dollars": means["labels"] * cents_per_label / 100,
            "machine, dollars": means["wall"] / 3600 * cents_per_hour / 100,
            "wall / Random's": means["wall"] / means.loc["random", "wall"],
            "FLOP / Random's": means["flops"] / means.loc["random", "flops"],
        }
    )


def repeats(picks: pd.DataFrame) -> pd.DataFrame:
    """How often a run asks about a prompt again, a row a strategy, mean over seeds. picks: one row
    a pick (Fig. 10), in the rounds that were looked into.
    """
    counts = picks.groupby(["strategy", "seed", "prompt"], sort=False).size()
    runs = counts.groupby(["strategy", "seed"], sort=False)
    found = runs.agg(labels="sum", prompts="size", most="max")
    again = 1 - found["prompts"] / found["labels"]
    found["share of picks on a prompt asked before"] = again
    return found.groupby("strategy", sort=False).mean()


def labels_needed(own: pd.DataFrame, level: float, measure: str = "agreement") -> float:
    """Labels at which one run's measure first reaches `level`, linear between rounds; inf where it
    never does. own: rows (labels, measure).
    """
    own = own.sort_values("labels")
    x, y = own["labels"].to_numpy(), own[measure].to_numpy()
    reached = np.flatnonzero(y >= level)
    if not len(reached):
        return math.inf
    k = reached[0]
    if k == 0:
        return float(x[0])
    return float(x[k - 1] + (x[k] - x[k - 1]) * (level - y[k - 1]) / (y[k] - y[k - 1]))


def labels_to_reach_random(
    results: pd.DataFrame, measure: str = "agreement"
) -> dict[str, np.ndarray]:
    """{strategy: (seeds,) labels at which it is as good as that seed's Random is after all of them}
    (Fig. 14); inf where it never is. results: of one task and model.
    """
    last = last_round(results)
    levels = last[last["strategy"] == "random"].set_index("seed")[measure]
    runs = results.groupby(["strategy", "seed"], sort=False)
    found = {(name, seed): labels_needed(own, levels[seed], measure) for (name, seed), own in runs}
    names = dict.fromkeys(results["strategy"])
    return {n: np.array([found[n, seed] for seed in levels.index]) for n in names}


def at_most_a_round_more(results: pd.DataFrame, needed: dict) -> dict[str, np.ndarray]:
    """The labels needed, a run that never gets there counted as one round more than all."""
    labels = np.sort(results["labels"].unique())
    most = labels[-1] + (labels[-1] - labels[-2])
    return {name: np.minimum(values, most) for name, values in needed.items()}


def labels_saved(results: pd.DataFrame, measure: str) -> dict[str, np.ndarray]:
    """{strategy: (seeds,) by how many labels it reaches what Random ends with before Random itself
    first does}, the mean over tasks and models; a run that never does counts as one round more.
    Random's own first time counts, and not its last: both curves waver.
    """
    cells: dict[str, list[np.ndarray]] = {}
    for _, own in results.groupby(["task", "model"], sort=False):
        needed = at_most_a_round_more(own, labels_to_reach_random(own, measure))
        for name, labels in needed.items():
            cells.setdefault(name, []).append(needed["random"] - labels)
    return {name: np.mean(own, axis=0) for name, own in cells.items() if name != "random"}


def needed_table(results: pd.DataFrame, needed: dict) -> pd.DataFrame:
    """Labels needed, a row a strategy: mean, half width, and the share that never gets there."""
    counted = at_most_a_round_more(results, needed)
    rows = []
    for name, values in needed.items():
        mean, half = interval(counted[name])
        never = float(np.mean(np.isinf(values)))
        rows.append({"strategy": name, "labels": mean, "±": half, "never reached": never})
    return pd.DataFrame(rows)


def saved_table(folder: Path, name: str) -> pd.DataFrame:
    """A figure's table, as it lies beside the picture."""
    return pd.read_csv(folder / f"{name}.csv")


def saved_seeds(folder: Path, name: str) -> pd.DataFrame:
    """A saved table, or an empty one where there is none, or one seed: nothing is judged by it."""
    table = saved_table(folder, name) if (folder / f"{name}.csv").is_file() else pd.DataFrame()
    return table if not table.empty and table["seed"].nunique() > 1 else pd.DataFrame()


def last_differences(
    table: pd.DataFrame, measure: str, by: str, baseline: str
) -> dict[tuple, np.ndarray]:
    """{(task, model, by): differences to the baseline after the last round, (seeds,)}, paired."""
    difference = difference_to(table, measure, baseline, by)
    keys = [key for key in ("task", "model") if key in difference]
    cells = difference.groupby([*keys, by], sort=False)
    return {cell: last_and_mean(own, measure)[0] for cell, own in cells}


def effects(folder: Path, name: str, measure: str, by: str, baseline: str) -> dict[str, np.ndarray]:
    """From a saved table, {name of a strategy or variant: paired differences after the last round,
    (seeds,)}; a task or model is named too where there are
    several.
    """
    found = last_differences(pd.read_csv(folder / f"{name}.csv"), measure, by, baseline)
    named = [
        at for at in range(len(next(iter(found))) - 1) if len({cell[at] for cell in found}) > 1
    ]
    return {
        ", ".join([LABELS.get(cell[-1], cell[-1]), *(cell[at] for at in named)]): values
        for cell, values in found.items()
    }
