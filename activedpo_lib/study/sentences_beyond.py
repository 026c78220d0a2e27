"""What notebooks 14 to 22 found, beyond the paper; as `sentences.py`, which is read first."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study import statistics, wording
from activedpo_lib.study.comparisons.corrected import (
    WHENS,
    above_everywhere,
    corrected_verdicts,
)
from activedpo_lib.study.comparisons.pooled import pooled_verdicts, power_lines
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.probing import picks
from activedpo_lib.study.scarcity.kl_sentences import strategies_at_equal_kl
from activedpo_lib.study.statistics import effects, saved_table, sign
from activedpo_lib.study.tables import last_round
from activedpo_lib.study.wording import (
    REWARD,
    amount,
    compared,
    counted,
    headline,
    itemised,
    joined,
    number,
    paragraphs,
    plain,
    share,
    stands,
)

MEASURES = {"reward": "a cell's reward", "utility": "a cell's true utility"}


def v_ablation(folder: Path) -> str:
    """Figure 7: V in parts."""
    cells = effects(folder, "fig7_v_ablation", "reward", "variant", "the paper's")
    table = saved_table(folder, "fig7_v_ablation")
    repeated = table[table["round"] > 0].groupby("variant", sort=False)["repeated_prompts"].mean()
    batch = int(table["labels"][table["round"] == 1].iloc[0])
    each = {name: plain(value, 1) for name, value in repeated.items()}
    return paragraphs(
        headline(cells, f"{counted(cells, -1, 'ablation')} ended below the paper's V in reward."),
        stands(cells, REWARD, "the paper's V"),
        power_line(cells.values()),
        itemised(
            each, f"Of a batch of {batch}, picks on a prompt that it has already, mean of rounds"
        ),
    )


def costs(folder: Path) -> str:
    """Figure 8: operations, reward and time."""
    table = last_round(saved_table(folder, "fig8_costs"))
    flops = table.groupby("strategy", sort=False)["flops"].mean()
    ratios = [
        f"{wording.name_of(n)} {plain(f / flops['random'], 1)}"
        for n, f in flops.items()
        if n != "random"
    ]
    cells = effects(folder, "fig8_costs", "reward", "strategy", "random")
    return paragraphs(
        f"**Operations of a run, as a multiple of Random's: {joined(ratios)}.**",
        stands(cells, REWARD, "Random"),
        power_line(cells.values()),
        _times(folder, table),
    )


def _times(folder: Path, table: pd.DataFrame) -> str:
    if not (folder / "timings.csv").is_file():
        return ""
    cell = table.iloc[0]
    every = saved_table(folder, "timings")
    own = every[(every["task"] == cell["task"]) & (every["model"] == cell["model"])]
    spent = own[[c for c in statistics.SPENT if c in own]].sum(axis=1)
    means = spent.groupby([own["strategy"], own["seed"]], sort=False).sum()
    means = means.groupby(level=0, sort=False).mean()
    each = {wording.name_of(n): f"{plain(seconds, 1)} s" for n, seconds in means.items()}
    return itemised(each, "Time of a run, without evaluation, one thread") if each else ""


def forgetting(folder: Path) -> str:
    """Figure 9: what else than the reward has moved."""
    measured = {
        "sft_loss": "Loss on demonstrations (nats a token)",
        "kl": "KL to the reference (nats a response)",
        "oracle_reward": "Reward by the oracle (logits)",
        "evaluator_reward": "Reward by the second model (logits)",
    }
    found = {m: effects(folder, "fig9_forgetting", m, "strategy", "random") for m in measured}
    first = compared(found["sft_loss"]["ActiveDPO"], "Random's")
    return paragraphs(
        f"**ActiveDPO's loss on demonstrations ended {first}, in nats a token.**",
        *(stands(found[measure], what, "Random") for measure, what in measured.items()),
        power_line(found["sft_loss"].values(), "the loss on demonstrations"),
    )


def what_was_picked(folder: Path) -> str:
    """Figure 10: the picks under every criterion."""
    table = saved_table(folder, "fig10_picks")
    own = table[table["strategy"] == "activedpo"]
    ranks = {name: plain(own[name].mean()) for name in picks.CRITERIA}
    seeds = own.groupby("seed").mean(numeric_only=True)
    overlap, length = (seeds[n] - seeds[f"pool {n}"] for n in ("overlap", "length"))
    again = statistics.repeats(table)["share of picks on a prompt asked before"]
    shares = {wording.name_of(name): share(value) for name, value in again.items()}
    pool = {"share of words that a pair's two responses have in common": number(overlap)}
    pool |= {"length of a response, in tokens": number(length, 1)}
    return paragraphs(
        f"**ActiveDPO's picks rank {ranks[picks.CRITERIA[0]]} by their own criterion, where 1 is "
        "the pool's highest and 0.5 is chance.**",
        itemised(ranks, "Mean rank of ActiveDPO's picks, 0 to 1, by each strategy's criterion"),
        itemised(pool, "ActiveDPO's picks, difference to their pool's mean"),
        itemised(shares, "Picks looked at whose prompt the run had asked about before"),
    )


def when_it_pays(folder: Path) -> str:
    """Figure 12: ActiveDPO against Random, condition by condition."""
    table = saved_table(folder, "fig12_when_it_pays")
    found = statistics.conditions(table)
    last, mean = ({name: groups[at] for name, groups in found.items()} for at in (0, 1))
    above, below = (_count(last, wanted) for wanted in (1, -1))
    head = (
        f"In {', '.join(table[['task', 'model']].iloc[0])}, {table['seed'].nunique()} seeds, "
        f"uncorrected, ActiveDPO ended above Random in {above} of {len(last)} conditions, below in "
        f"{below or 'none'}."
    )
    return paragraphs(
        headline(last, head),
        stands(last, REWARD, "Random"),
        stands(mean, "Oracle reward, mean of the rounds (logits)", "Random"),
        power_line(last.values()),
    )


def all_strategies(folder: Path) -> str:
    """Figures 13 and 20: every strategy against Random, corrected for the number of comparisons, at
    the same step size and at the same KL.
    """
    table = saved_table(folder, "fig13_all_strategies")
    known = table["utility"].notna().all()
    measures = ("reward", "utility") if known else ("reward",)
    found = corrected_verdicts(table, measures)
    if (found["verdict"] == "one seed").all():
        return "**One seed: nothing is judged.**"
    winners = above_everywhere(found[found["when"] == WHENS[0]])
    named = joined([wording.name_of(name) for name in winners]) if winners else "no strategy"
    both = "reward and true utility" if known else "reward"
    cells = found.groupby(["task", "model"]).ngroups
    where = f"each of {cells} cells" if cells > 1 else "the one cell"
    head = f"**Above Random in {both}, in {where}, corrected for all comparisons: {named}.\n"
    head += f"{_over_cells(table, measures)}**"
    last = found[found["when"] == WHENS[0]]
    lines = [_corrected_line(own, *cell) for cell, own in _by_cell(last)]
    equal = strategies_at_equal_kl(folder)
    seen = [_power(table, str(measure), own) for measure, own in last.groupby("measure")]
    seen += power_lines(table, measures)
    return paragraphs(head, equal, *lines, *seen)


def _over_cells(table: pd.DataFrame, measures: tuple[str, ...]) -> str:
    """Who is above Random in every measure over all tasks and models at once, corrected."""
    rows = pooled_verdicts(table, measures)
    above = rows["verdict"].eq("above Random").groupby(rows["strategy"], sort=False).all()
    names = [wording.name_of(str(name)) for name in above.index[above]]
    return f"In the mean over cells: {joined(names) if names else 'no strategy'}."


def _by_cell(found: pd.DataFrame) -> Iterable[tuple[tuple, pd.DataFrame]]:
    return found.groupby(["measure", "task", "model"], sort=False)


def _power(table: pd.DataFrame, measure: str, family: pd.DataFrame) -> str:
    apart = statistics.last_differences(table, measure, "strategy", "random").values()
    return power_line(apart, MEASURES[measure], len(family))


def _strategy_and_interval(row: dict) -> str:
    told = wording.with_half(row["difference"], row["±"])
    return f"{wording.name_of(row['strategy'])} ({told})"


def _corrected_line(own: pd.DataFrame, measure: str, task: str, model: str) -> str:
    what = {"reward": "oracle reward (logits)", "utility": "true utility (utils)"}[measure]
    told = [(row["verdict"], _strategy_and_interval(row)) for row in own.to_dict("records")]
    head = f"{task}, {model}, {what}, difference to Random, {wording.CORRECTED}"
    return wording.under_verdicts(head, told)


def replay(folder: Path) -> str:
    """Figure 14: strategies on comparisons that are labelled already."""
    table = saved_table(folder, "fig14_replay")
    cells = effects(folder, "fig14_replay", "agreement", "strategy", "random")
    ends = last_round(table).groupby("strategy", sort=False)["agreement"].mean()
    needed = statistics.at_most_a_round_more(table, statistics.labels_to_reach_random(table))
    each = {wording.name_of(name): amount(values) for name, values in needed.items()}
    what = "Agreement with held-out answers (0 to 1)"
    count = counted(cells, 1, "strategy", "strategies")
    head = f"{count} ended above Random in agreement, {_count(cells, -1)} below."
    return paragraphs(
        headline(cells, head),
        stands(cells, what, "Random", 3),
        power_line(cells.values(), "agreement"),
        f"All end between {plain(ends.min())} and {plain(ends.max())}.",
        itemised(each, "Labels needed to reach Random's last level"),
    )


def decisions(folder: Path) -> str:
    """D1 to D16: what a changed decision does."""
    cells = effects(folder, "decisions", "reward", "variant", "default")
    level, below, above = (_count(cells, wanted) for wanted in (0, -1, 1))
    head = (
        f"Of {len(cells)} changes, {level} ended level with the default in reward, {below} below "
        f"and {above} above."
    )
    seen = power_line(cells.values())
    return paragraphs(headline(cells, head), stands(cells, REWARD, "the default"), seen)


def _count(cells: Mapping[str, np.ndarray], wanted: int) -> str:
    return str(sum(sign(values) == wanted for values in cells.values()) or "none")
