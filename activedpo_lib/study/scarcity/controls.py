"""What notebook 20 found: is it the labels, or what comes with them? Figure 17's controls."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study.comparisons.corrected import known_measures
from activedpo_lib.study.comparisons.pooled import over_cells
from activedpo_lib.study.comparisons.power import power_line
from activedpo_lib.study.scarcity import longer
from activedpo_lib.study.scarcity.kl_sentences import WORDS, at_equal_kl, moved
from activedpo_lib.study.scarcity.numbers import gains, lost
from activedpo_lib.study.scarcity.sentences import name
from activedpo_lib.study.statistics import saved_table, sign
from activedpo_lib.study.wording import (
    counted,
    headline,
    joined,
    name_of,
    paragraphs,
    stands,
)

OWN, COIN, ORACLE, LARGER = "own prediction", "coin", "oracle", "step x2"
WHO = {ORACLE: "the oracle's labels", OWN: "a predictor's labels", COIN: "a coin's labels"}
MEAN = "after the last round, mean over tasks and models, uncorrected"
Cells = dict[str, np.ndarray]


def is_it_the_labels(folder: Path) -> str:
    """Figure 17: what answers of one's own or of a coin leave of each gain, and what a strategy
    gains at Random's distance from pi_SFT; Figure 21: what twice the labels add.
    """
    table = saved_table(folder, "fig17_controls")
    head, lists = answers(table)
    equal = at_equal_kl(folder)
    return paragraphs(head, *equal[:1], *lists, *equal[1:], *moved(folder), longer.sentence(folder))


def answers(table: pd.DataFrame) -> tuple[str, list[str]]:
    """The headline and the lists of a table of controls: what the oracle's labels add to a
    predictor's and to a coin's, and what those leave of the gain over Random.
    """
    if OWN not in set(table["variant"]):
        return "**A replay's people have answered already: nobody can answer in their place.**", []
    taught = _taught(table)
    head = (
        "The oracle's labels gave more reward than a predictor's, over all cells, uncorrected, for "
        f"{counted(taught, 1, 'strategy', 'strategies')} ({joined(list(taught))}).{_kept(table)}"
    )
    lists = [
        stands(taught, f"The oracle's labels, reward {MEAN}", "a predictor's labels"),
        power_line(taught.values(), "what the oracle's labels add"),
        *_over_random(table),
        *_cells(table),
    ]
    return headline(taught, head), lists


def _taught(table: pd.DataFrame) -> Cells:
    """{strategy: what the oracle's labels add to a predictor's, (seeds,)}: one number a seed,
    the mean over tasks and models, which share it.
    """
    return {
        name_of(str(strategy)): np.mean(
            list(lost(gains(own, "variant"), OWN, ORACLE).values()), axis=0
        )
        for strategy, own in table.groupby("strategy", sort=False)
    }


def _against_random(table: pd.DataFrame, variant: str, theirs: str, measure: str) -> Cells:
    """{strategy: its differences under `variant` to Random under `theirs`, (seeds,)}."""
    own = table[(table["variant"] == variant) & (table["strategy"] != "random")]
    random = table[(table["variant"] == theirs) & (table["strategy"] == "random")]
    if own.empty or random.empty:
        return {}
    both = pd.concat([own, random.assign(variant=variant)])
    return {name_of(n): v for n, v in over_cells(both, measure, "random").items()}


def _kept(table: pd.DataFrame) -> str:
    """Who is above Random where a coin labels both; and whose labels add to what they gain."""
    coin = {
        measure: _against_random(table, COIN, COIN, measure) for measure in known_measures(table)
    }
    if not any(coin.values()):
        return ""
    earned = {measure: _earned(table, measure) for measure in coin}
    return (
        f"\nWhere a coin labels both after the first round, above Random: {_who(coin)}."
        "\nWith the oracle's labels that difference is larger, established only for: "
        f"{_who(earned)}."
    )


def _who(found: dict[str, Cells]) -> str:
    """ "ActiveDPO in reward and true utility; k-center in reward": who is above, and in what."""
    where: dict[str, list[str]] = {}
    for measure, cells in found.items():
        for who, values in cells.items():
            if sign(values) > 0:
                where.setdefault(who, []).append(WORDS[measure])
    told = [f"{who} in {joined(measures)}" for who, measures in where.items()]
    return "; ".join(told) or "none"


def _earned(table: pd.DataFrame, measure: str) -> Cells:
    """{strategy: its difference to Random with the oracle's labels, less that with a coin's for
    both, (seeds,)}: what later labels earn of the gain.
    """
    oracle, coin = (_against_random(table, who, who, measure) for who in (ORACLE, COIN))
    return {who: values - coin[who] for who, values in oracle.items() if who in coin}


def _over_random(table: pd.DataFrame) -> Iterator[str]:
    """What is left of the gain over Random where others answer: both labelled alike, and Random
    with the oracle's labels; then both at a larger step.
    """
    for measure in known_measures(table):
        alike, unlike = {}, {}
        for variant, whose in WHO.items():
            for who, values in _against_random(table, variant, variant, measure).items():
                alike[f"{who}, {whose}"] = values
            if variant != ORACLE:
                for who, values in _against_random(table, variant, ORACLE, measure).items():
                    unlike[f"{who}, {whose}"] = values
        what = f"{WORDS[measure].capitalize()} {MEAN}"
        larger = _against_random(table, LARGER, LARGER, measure)
        for cells, about, whom in (
            (alike, f"{what}, both labelled alike", "Random"),
            (_earned(table, measure), f"{what}: the difference to Random", "that with a coin's"),
            (unlike, what, "Random with the oracle's labels"),
            (larger, f"{what}, both at twice the step size", "Random"),
        ):
            if cells:
                yield stands(cells, about, whom)


def _cells(table: pd.DataFrame) -> Iterator[str]:
    """Task by task and model by model: what each loses with other answers."""
    for strategy, own in table.groupby("strategy", sort=False):
        found = gains(own, "variant")
        for what, variant in (("a predictor", OWN), ("a coin", COIN)):
            cells = {name(c): -v for c, v in lost(found, variant, ORACLE).items()}
            label = f"{name_of(str(strategy))} labelled by {what} after the first round"
            yield stands(cells, label, "the oracle's labels")
