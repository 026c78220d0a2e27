"""The paper's claims, and what the committed tables say of each: `python -m
activedpo_lib.study.claims` prints the README's computed parts.

One rule for every row. A cell speaks for a claim (+1) where the 95 % t interval over seeds of its
paired difference lies wholly on the claimed side, against it (-1) where it lies wholly on the other
side, and not at all (0) where it holds zero, or where there is one seed. All cells for: holds; any
against: does not; some for: mixed; none: not established. That something changes little, or has no
effect, an interval can refute and never establish: such a cell is -1 or 0. A test of an interaction
is for its claim at p < 0.05, and cannot speak against it.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.study import sentences, statistics
from activedpo_lib.study.comparisons import fresh, own_step
from activedpo_lib.study.comparisons.corrected import known_measures
from activedpo_lib.study.findings import COMMITTED, source
from activedpo_lib.study.statistics import last_differences, saved_table, sign
from activedpo_lib.study.tables import last_round
from activedpo_lib.study.wording import joined, listed, name_of, placed, share

Row = tuple[str, str, str, str]  # claim, notebook, what was measured, ruling
Cells = Mapping[str, np.ndarray]


def ruling(supports: Iterable[int]) -> str:
    """What cells that are for (+1), against (-1) or silent (0) say of a claim made of all."""
    found = list(supports)
    if found and all(one == 1 for one in found):
        return "holds"
    if -1 in found:
        return "does not"
    return "mixed" if 1 in found else "not established"


def supports(cells: Cells, wanted: int) -> list[int]:
    """For, against or silent, a number a cell. wanted: the claimed sign; 0: a claim of no effect,
    which can be refuted and never established.
    """
    signs = [sign(values) for values in cells.values()]
    return [found * wanted if wanted else -abs(found) for found in signs]


def last(folder: Path, name: str, measure: str, by: str, baseline: str) -> dict[tuple, np.ndarray]:
    """{(task, model, by): differences to the baseline after the last round, (seeds,)}."""
    return last_differences(pd.read_csv(folder / f"{name}.csv"), measure, by, baseline)


def against_random(folder: Path, strategy: str, name: str, measure: str) -> dict[str, np.ndarray]:
    """{"task, model": the strategy's differences to Random, (seeds,)}."""
    found = last(folder, name, measure, "strategy", "random")
    return {f"{t}, {m}": values for (t, m, own), values in found.items() if own == strategy}


def main_claims(folder: Path) -> Iterator[Row]:
    """Figures 1 and 5."""
    for number, name, measure, what in (
        (1, "fig1_reward", "reward", "rewards"),
        (5, "fig5_win_rate", "win_rate", "win-rates"),
    ):
        cells = against_random(folder, "activedpo", name, measure)
        claim = f"ActiveDPO gives higher {what} than Random everywhere"
        yield claim, f"08, Figure {number}", listed(cells), ruling(supports(cells, 1))
    cells = against_random(folder, "aplp", "fig1_reward", "reward")
    better, worse = (
        {cell: values for cell, values in cells.items() if cell.endswith(f", {model}")}
        for model in ("gemma", "llama")
    )
    found = ruling(supports(better, 1) + supports(worse, -1))
    claim = "APLP does well on Gemma, worse than Random on Llama-2"
    yield claim, "08, Figure 1", listed(better | worse), found


def model_claims(folder: Path) -> Iterator[Row]:
    """Figure 2."""
    table = pd.read_csv(folder / "fig2_model_dependence.csv")
    tests = statistics.interactions(last_round(table))
    text = ", ".join(
        f"{row['measure'].replace('_', '-')} p = {row['p']:.3f} (a seed left out: up to "
        f"{row['highest without one']:.2f})"
        for row in tests.to_dict("records")
    )
    claim = "Different models need different data (interaction)"
    yield claim, "10, Figure 2", text, ruling(int(p < 0.05) for p in tests["p"])


def normalisation_claims(folder: Path) -> Iterator[Row]:
    """Figure 3."""
    found = last(folder, "fig3_normalisation", "reward", "variant", "response")
    none = {task: -values for (task, _, variant), values in found.items() if variant == "none"}
    helps = {task: values for task, values in none.items() if task == "webgpt"}
    little = {task: values for task, values in none.items() if task == "tldr"}
    claim = "Normalising helps on WebGPT and changes little on TL;DR"
    text = "with - without: " + listed(none)
    yield claim, "11, Figure 3", text, ruling(supports(helps, 1) + supports(little, 0))
    picks = pd.read_csv(folder / "fig3_normalisation_picks.csv").query("variant == 'none'")
    longer = {
        task: (own["length"] - own["pool length"]).to_numpy()
        for task, own in picks.groupby("task", sort=False)
    }
    text = "picks longer than the pool by (tokens) " + listed(longer, 1)
    claim = "Without normalisation, short responses are favoured"
    yield claim, "11, Figure 3", text, ruling(supports(longer, -1))


def projection_claims(folder: Path) -> Iterator[Row]:
    """Figure 4. "Do not help": an interval wholly below zero is for it."""
    found = last(folder, "fig4_projection", "reward", "variant", "fold")
    cells = {variant: values for (_, _, variant), values in found.items()}
    few = {"d / 64": cells["fold x1/64"], "d / 8": cells["fold x1/8"]}
    text = listed(few)
    yield "Fewer dimensions are worse", "12, Figure 4", text, ruling(supports(few, -1))
    more = {"4 d:": cells["fold x4"]}
    claim = "More than the default do not help"
    yield claim, "12, Figure 4", listed(more), ruling(supports(more, -1))


def theory_claims(folder: Path) -> Iterator[Row]:
    """Figure 6."""
    table = pd.read_csv(folder / "fig6_proposition_1.csv")
    own = table[(table["criterion"] == "uncertainty") & (table["round"] > 1)]
    found = {
        task: group.groupby("seed")["correlation"].mean().to_numpy()
        for task, group in own.groupby("task", sort=False)
    }
    claim = "Uncertainty rises with the reward's error (what Prop. 1 is used for)"
    text = "rank correlation " + listed(found) + _beyond_the_gap(folder)
    yield claim, "13, Figure 6", text, ruling(supports(found, 1))


def _beyond_the_gap(folder: Path) -> str:
    """What is left where the true gap's part is taken out, the error on the truth's scale."""
    table = pd.read_csv(folder / "fig6_proposition_1_beyond.csv")
    own = table[(table["measure"] == "error on one scale") & (table["round"] > 1)]
    means = own.groupby(["task", "seed"], sort=False)["beyond the gap"].mean()
    cells = {str(task): left.to_numpy() for task, left in means.groupby("task", sort=False)}
    return "; beyond the true gap, on one scale " + listed(cells)


PARTS = (main_claims, model_claims, normalisation_claims, projection_claims, theory_claims)
BEYOND = ("14_v_ablation", "15_costs", "16_forgetting", "17_what_was_picked", "18_when_does_it_pay")
BEYOND += ("19_all_strategies", "25_fresh_seeds", "21_replay", "22_decisions", "26_model_size")
BEYOND += ("27_which_part",)


def all_claims(folder: Path | str = COMMITTED) -> list[Row]:
    """Rows (claim, notebook, what was measured, ruling) of every claim, from the tables there."""
    return [row for part in PARTS for row in part(Path(folder))]


def markdown(rows: Iterable[Row]) -> str:
    """The README's table."""
    lines = ["| the paper's claim | notebook | measured here | |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def caption(folder: Path | str = COMMITTED) -> str:
    """The README's words under Figure 1, of the differences to Random after the last round."""
    folder = Path(folder)
    table = pd.read_csv(folder / "fig1_reward.csv")
    cells = against_random(folder, "activedpo", "fig1_reward", "reward")
    labels, seeds = int(table["labels"].max()), table["seed"].nunique()
    return (
        "*Figure 1 of the paper, on the built-in world: mean oracle reward against labels, "
        f"{seeds} seeds, 95 % intervals; below, the paired difference to Random. ActiveDPO after "
        f"{labels} labels. {placed(cells, 'Random')} Other strategies: notebook 08.*"
    )


# (question, notebook, which of its finding's headlines answers it)
FOUND = (
    ("Do labels limit learning here?", "06_label_elasticity", 0),
    ("How much could any choice of labels gain?", "07_room", 0),
    ("Is this laboratory fit to tell strategies apart?", "07_room", 1),
    ("Does the paper's ActiveDPO gain it?", "08_main_results", 0),
    ("Does another strategy, on seeds that nobody had run?", "25_fresh_seeds", 0),
    (
        "Is it the labels? Do the oracle's teach more than others' answers?",
        "20_is_it_the_labels",
        0,
    ),
    ("Or only that picks move the model further? Who gains at equal KL?", "19_all_strategies", 1),
    ("And ActiveDPO, at equal KL, on seeds that nobody had run?", "25_fresh_seeds", 1),
    (
        "And ActiveDPO, each at its own step size, on seeds that nobody had run?",
        "25_fresh_seeds",
        2,
    ),
    ("Does the gain last, with twice the labels?", "20_is_it_the_labels", 2),
)


def in_short(folder: Path | str = COMMITTED) -> str:
    """The README's first answer: does choosing labels help here, and how much of the room is it?"""
    folder = Path(folder)
    table = saved_table(folder, "fig18_fresh_seeds")
    helped = fresh.helped(fresh.judged(table, known_measures(table)))
    told = [
        f"{name_of(name)}'s gain over Random was {share(part)} of that of one who knew every reward"
        for name, part in fresh.parts_of_room(folder).items()
    ]
    head = f"**In short: choosing labels {helped} here.** On seeds that nobody had run, "
    head += f"{joined(told)}, in reward, at one step size for both."
    if not (own := own_step.standing(folder).replace("\n", " ")):
        return head
    return (
        f"{head} ActiveDPO and Random each at the step size chosen for it, ActiveDPO ended above "
        f"Random in {own}"
    )


def found(folder: Path | str = COMMITTED) -> str:
    """The README's first screen: the questions in their order, and the headline of each answer."""
    lines = [
        f"- *{question}* {_headline(notebook, folder, which)} (Notebook {notebook[:2]}.)"
        for question, notebook, which in FOUND
    ]
    return "\n".join(lines)


def _headline(notebook: str, folder: Path | str, which: int = 0) -> str:
    said = sentences.SENTENCES[notebook](Path(folder))
    text = said.split("**")[1 + 2 * which].removesuffix(":").replace("\n", " ")
    return text[0].upper() + text[1:]


def beyond(folder: Path | str = COMMITTED) -> str:
    """The README's "Beyond the paper": the headline of each finding."""
    lines = []
    for notebook in BEYOND:
        lines.append(f"- **{notebook[:2]}** {_headline(notebook, folder)}")
    return "Beyond the paper, each in its notebook:\n\n" + "\n".join(lines)


if __name__ == "__main__":
    whose = source("08_main_results", COMMITTED)
    print(caption(), in_short(), found(), markdown(all_claims()), beyond(), whose, sep="\n\n")
