"""What each notebook found, as a function of the folder of its tables: sentences and numbers.

Every number is read from *.csv, and every above, below and level follows from a 95 % interval over
seeds, so that a sentence stays true when the figures are made again.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from activedpo_lib.study import picks, statistics, wording
from activedpo_lib.study.statistics import effects, last_differences
from activedpo_lib.study.wording import (
    compared,
    counted,
    headline,
    joined,
    number,
    opening,
    placed,
    plain,
)


def _table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["round"] == table["round"].max()]


def main_results(folder: Path) -> str:
    parts = []
    for name, measure in (("fig1_reward", "reward"), ("fig5_win_rate", "win_rate")):
        found = last_differences(_table(folder, name), measure, "strategy", "random")
        cells = {f"{t}, {m}": v for (t, m, s), v in found.items() if s == "activedpo"}
        what = measure.replace("_", "-")
        head = f"ActiveDPO's {what} is above Random's in {counted(cells, 1)} cells."
        parts.append(f"{opening(cells, head, 'Random')}")
    others = effects(folder, "fig1_reward", "reward", "strategy", "random")
    rest = {n: values for n, values in others.items() if not n.startswith("ActiveDPO")}
    return "\n\n".join([*parts, f"The others' reward. {placed(rest, 'Random')}"])


def model_dependence(folder: Path) -> str:
    final = _last(_table(folder, "fig2_model_dependence"))
    tests = statistics.interactions(final)
    if tests["p"].isna().any():
        return "One seed: whether models need different data cannot be tested."
    shown = f"{(tests['p'] < 0.05).sum()} of {len(tests)} measures"
    parts = []
    for row in tests.to_dict("records"):
        name, most = row["measure"].replace("_", "-"), row["highest without one"]
        left = "" if most != most else f" (up to {most:.2f} without seed {row['carried by']})"
        parts.append(f"{name} p = {row['p']:.3f}{left}")
    means = final.groupby(["model_name", "subset"])["reward"].mean()
    best = [f"{m} earns most on {means[m].idxmax()} ({plain(means[m].max())})" for m in
            means.index.levels[0]]  # fmt: skip
    return (
        f"**Model and data interact in {shown}: {joined(parts)}.** By mean reward {joined(best)}."
    )


def normalisation(folder: Path) -> str:
    cells = effects(folder, "fig3_normalisation", "reward", "variant", "response")
    table = _table(folder, "fig3_normalisation_picks")
    longer = table["length"] - table["pool length"]
    cut = longer.groupby([table["task"], table["variant"]])
    none = {t: v.to_numpy() for (t, variant), v in cut if variant == "none"}
    ranks = picks.length_correlations(_table(folder, "fig3_normalisation_gradients"))
    signs = [
        f"{row['task']} {plain(row['sum'])} for the sum over tokens, "
        f"{plain(row['mean over tokens'])} for their mean"
        for row in ranks.to_dict("records")
    ]
    taught = _table(folder, "fig3_normalisation_taught").groupby(["task", "labels on"], sort=False)
    right = [f"{t}, {way}: {plain(own['agreement'].mean())}" for (t, way), own in taught]
    head = f"Below normalising each response: {counted(cells, -1)} other ways."
    return (
        f"{opening(cells, head, 'normalising each response')}\n\n"
        f"Picks without normalisation are longer than their pool by "
        f"{wording.listed(none, 1)} tokens. Rank correlation of length and gradient norm: "
        f"{'; '.join(signs)}. A batch of labels then orders this share of the other pairs right: "
        f"{'; '.join(right)}."
    )


def projection(folder: Path) -> str:
    cells = effects(folder, "fig4_projection", "reward", "variant", "fold")
    quality = _table(folder, "fig11_projection_quality")
    fold = quality[quality["kind"] == quality["kind"].iloc[0]]
    means = fold.groupby("dimensions")[["error", "share"]].mean()
    each = [f"{d} dimensions {row['share']:.3f}" for d, row in means.iterrows()]
    head = f"Level with the default: {counted(cells, 0)} other sizes and kinds."
    chance = f" A random batch has {quality['chance'].iloc[0]:.2f}." if "chance" in quality else ""
    return (
        f"{opening(cells, head, 'the default')}\n\n"
        f"The picks' log-determinant, as a share of the exact "
        f"picks': {', '.join(each)}.{chance}"
    )


def proposition(folder: Path) -> str:
    table = _table(folder, "fig6_proposition_1")
    later = table[table["round"] > 1].groupby(["task", "criterion", "seed"])["correlation"].mean()
    tasks = list(dict.fromkeys(table["task"]))
    own = {t: later[t, "uncertainty"].to_numpy() for t in tasks}
    norm = {t: own[t] - later[t, "gradient norm"].to_numpy() for t in tasks}
    network = _table(folder, "fig6_proposition_1_network")
    checked = network[network["checked"]] if "checked" in network else network
    active = checked[checked["strategy"] == "activedpo"]
    head = f"Uncertainty ranks pairs by the error above chance in {counted(own, 1)} tasks."
    return (
        f"{headline(own, head)} Rank correlation: {wording.listed(own)}; chance is 0. "
        f"Against the gradient's norm alone. {placed(norm, 'the norm')}\n\n"
        f"In the proposition's own setting, a bound fitted to hold "
        f"for {wording.share(active['level'].iloc[0])} of pairs holds for "
        f"{wording.share(active['coverage'].mean())} of held-out ones."
    )


def v_ablation(folder: Path) -> str:
    cells = effects(folder, "fig7_v_ablation", "reward", "variant", "the paper's")
    table = _table(folder, "fig7_v_ablation")
    repeated = table[table["round"] > 0].groupby("variant", sort=False)["repeated_prompts"].mean()
    batch = int(table["labels"][table["round"] == 1].iloc[0])
    each = joined([f"{name} {plain(value, 1)}" for name, value in repeated.items()])
    head = f"Below the paper's V in reward: {counted(cells, -1)} ablations."
    return (
        f"{opening(cells, head, 'the paper’s V')}\n\n"
        f"Of {batch} picks, so many are on a prompt that the "
        f"batch asks about already: {each}."
    )


def costs(folder: Path) -> str:
    table = _last(_table(folder, "fig8_costs"))
    flops = table.groupby("strategy", sort=False)["flops"].mean()
    ratios = [f"{wording.name_of(n)} {plain(f / flops['random'], 1)}" for n, f in flops.items()]
    cells = effects(folder, "fig8_costs", "reward", "strategy", "random")
    return (
        f"**Operations of a run, Random's being one: {joined(ratios)}.** "
        f"In reward. {placed(cells, 'Random')}{_times(folder, table)}"
    )


def _times(folder: Path, table: pd.DataFrame) -> str:
    if not (folder / "timings.csv").is_file():
        return ""
    cell = table.iloc[0]
    every = _table(folder, "timings")
    own = every[(every["task"] == cell["task"]) & (every["model"] == cell["model"])]
    spent = own[[c for c in statistics.SPENT if c in own]].sum(axis=1)
    wall = spent.groupby([own["strategy"], own["seed"]], sort=False).sum()
    means = wall.groupby(level=0, sort=False).mean()
    each = [f"{wording.name_of(n)} {plain(s, 1)} s" for n, s in means.items()]
    times = plain(means["activedpo"] / means["random"], 1)
    return f" Time without evaluation: {joined(each)}, ActiveDPO {times} times Random's."


def forgetting(folder: Path) -> str:
    found = {
        what: effects(folder, "fig9_forgetting", measure, "strategy", "random")
        for what, measure in {
            "loss on demonstrations (nats a token)": "sft_loss",
            "KL to the reference (nats a response)": "kl",
            "reward by the oracle": "oracle_reward",
            "reward by the second model": "evaluator_reward",
        }.items()
    }
    first = next(iter(found.values()))["ActiveDPO"]
    lines = [f"- {what}: {placed(cells, 'Random')}" for what, cells in found.items()]
    return (
        f"**ActiveDPO's loss on demonstrations is {compared(first, 'Random’s')}.**\n\n"
        + "\n".join(lines)
    )


def what_was_picked(folder: Path) -> str:
    table = _table(folder, "fig10_picks")
    means = table.groupby("strategy", sort=False)[list(picks.CRITERIA)].mean()
    own = means.loc["activedpo"]
    ranks = joined([f"{plain(value)} by {name}" for name, value in own.items()])
    seeds = table[table["strategy"] == "activedpo"].groupby("seed").mean(numeric_only=True)
    overlap, length = (seeds[n] - seeds[f"pool {n}"] for n in ("overlap", "length"))
    again = statistics.repeats(table)["share of picks on a prompt asked before"]
    shares = joined([f"{wording.name_of(n)} {wording.share(value)}" for n, value in again.items()])
    return (
        f"**ActiveDPO's picks rank {ranks}; chance is 0.5.** Their responses overlap more than the "
        f"pool's by {number(overlap)} and are longer by {number(length, 1)} tokens. Of the picks "
        f"looked at, on a prompt asked before: {shares}."
    )


def when_it_pays(folder: Path) -> str:
    found = statistics.conditions(_table(folder, "fig12_when_it_pays"))
    last, mean = ({name: groups[at] for name, groups in found.items()} for at in (0, 1))
    above, below = counted(last, 1), counted(last, -1)
    head = (
        f"After the last round ActiveDPO is above Random in {above} conditions, below in {below}."
    )
    return f"{opening(last, head, 'Random')}\n\nAveraged over rounds. {placed(mean, 'Random')}"


def all_strategies(folder: Path) -> str:
    cells = effects(folder, "fig13_all_strategies", "reward", "strategy", "random")
    head = f"Above Random: {counted(cells, 1)} strategies."
    return f"{opening(cells, head, 'Random')}"


def replay(folder: Path) -> str:
    table = _table(folder, "fig14_replay")
    cells = effects(folder, "fig14_replay", "agreement", "strategy", "random")
    ends = _last(table).groupby("strategy", sort=False)["agreement"].mean()
    needed = statistics.at_most_a_round_more(table, statistics.labels_to_reach_random(table))
    each = {wording.name_of(name): values for name, values in needed.items()}
    head = f"Above Random in agreement: {counted(cells, 1)} strategies."
    return (
        f"{opening(cells, head, 'Random', 3)} All end between "
        f"{plain(ends.min())} and {plain(ends.max())}."
        f"\n\nLabels needed to reach Random's last level: {wording.listed(each, 0)}."
    )


def decisions(folder: Path) -> str:
    cells = effects(folder, "decisions", "reward", "variant", "default")
    level, below, above = (counted(cells, wanted) for wanted in (0, -1, 1))
    head = f"Level with the default: {level} changes; below it: {below}; above it: {above}."
    return f"{opening(cells, head, 'the default')}"


SENTENCES: dict[str, Callable[[Path], str]] = {
    "06_main_results": main_results,
    "08_model_dependence": model_dependence,
    "09_normalisation": normalisation,
    "10_projection": projection,
    "11_proposition_1": proposition,
    "12_v_ablation": v_ablation,
    "13_costs": costs,
    "14_forgetting": forgetting,
    "15_what_was_picked": what_was_picked,
    "16_when_does_it_pay": when_it_pays,
    "17_all_strategies": all_strategies,
    "18_replay": replay,
    "19_decisions": decisions,
}
