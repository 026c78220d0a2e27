"""The paper's claims and what the committed tables say of each: `python -m
activedpo_lib.study.claims` prints them.

holds, does not, mixed, not established: by the 95 % t interval over seeds of a paired difference,
never by the mean alone.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.method.formulas import interaction, interval
from activedpo_lib.store import HOME
from activedpo_lib.study.plots import difference_to
from activedpo_lib.study.tables import last_and_mean

FIGURES = HOME / "figures"


def number(values, digits=2):
    """A mean and the half width of its 95 % interval over seeds, as text."""
    mean, half = interval(values)
    return f"{mean:+.{digits}f} ± {half:.{digits}f}"


def sign(values):
    """+1 or -1 where the interval of the mean leaves out zero, else 0."""
    mean, half = interval(values)
    return int(np.sign(mean)) if abs(mean) > half else 0


def last(name, measure, by, baseline, folder=FIGURES):
    """{(task, model, by): differences to the baseline after the last round, (seeds,)} of a
    committed table.
    """
    difference = difference_to(pd.read_csv(folder / f"{name}.csv"), measure, baseline, by)
    groups = difference.groupby(["task", "model", by], sort=False)
    return {cell: last_and_mean(own, measure)[0] for cell, own in groups}


def ruling(signs, wanted=1):
    """What signs of several cells say of a claim that each should be `wanted`."""
    if all(found == wanted for found in signs):
        return "holds"
    return "mixed" if wanted in signs else "does not"


def listed(cells, digits=2):
    """Cells and their numbers in one line."""
    return "; ".join(f"{name} {number(values, digits)}" for name, values in cells.items())


def _against_random(strategy, name, measure, folder, models=None):
    found = last(name, measure, "strategy", "random", folder)
    return {
        f"{task}, {model}": values
        for (task, model, found_strategy), values in found.items()
        if found_strategy == strategy and (models is None or model in models)
    }


def main_claims(folder):
    """Figures 1 and 5."""
    for name, measure, what in (
        ("fig1_reward", "reward", "rewards"),
        ("fig5_win_rate", "win_rate", "win-rates"),
    ):
        cells = _against_random("activedpo", name, measure, folder)
        notebook = f"06, Figure {1 if measure == 'reward' else 5}"
        yield (
            f"ActiveDPO gives higher {what} than Random everywhere",
            notebook,
            listed(cells),
            ruling([*map(sign, cells.values())]),
        )
    gemma, llama = (
        _against_random("aplp", "fig1_reward", "reward", folder, {model})
        for model in ("gemma", "llama")
    )
    both = [ruling([*map(sign, gemma.values())]), ruling([*map(sign, llama.values())], -1)]
    found = both[0] if both[0] == both[1] else "mixed"
    yield (
        "APLP does well on Gemma, worse than Random on Llama-2",
        "06, Figure 1",
        listed(gemma | llama),
        found,
    )


def model_claims(folder):
    """Figure 2."""
    table = pd.read_csv(folder / "fig2_model_dependence.csv")
    final, found, without = table[table["round"] == table["round"].max()], {}, {}
    for measure in ("reward", "win_rate"):
        cross = final.pivot_table(index=["seed", "model_name"], columns="subset", values=measure)
        shape = (cross.index.levels[0].size, cross.index.levels[1].size, cross.columns.size)
        values = cross.to_numpy().reshape(shape)
        found[measure] = interaction(values)[1]
        without[measure] = max(
            interaction(np.delete(values, at, axis=0))[1] for at in range(len(values))
        )
    text = ", ".join(
        f"{name.replace('_', '-')} p = {p:.3f} (a seed left out: up to {without[name]:.2f})"
        for name, p in found.items()
    )
    below = [p < 0.05 for p in found.values()]
    yield (
        "Different models need different data (interaction)",
        "08, Figure 2",
        text,
        ("holds" if all(below) else "mixed" if any(below) else "not established"),
    )


def normalisation_claims(folder):
    """Figure 3."""
    found = last("fig3_normalisation", "reward", "variant", "response", folder)
    none = {f"{task}": -values for (task, _, variant), values in found.items() if variant == "none"}
    rulings = [sign(none["webgpt"]) == 1, sign(none["tldr"]) == 0]
    text = "with - without: " + listed(none)
    yield (
        "Normalising helps on WebGPT and changes little on TL;DR",
        "09, Figure 3",
        text,
        ("holds" if all(rulings) else "mixed" if any(rulings) else "does not"),
    )
    picks = pd.read_csv(folder / "fig3_normalisation_picks.csv").query("variant == 'none'")
    longer = {
        task: (own["length"] - own["pool length"]).to_numpy()
        for task, own in picks.groupby("task", sort=False)
    }
    text = "picks longer than the pool by (tokens) " + listed(longer, 1)
    yield (
        "Without normalisation, short responses are favoured",
        "09, Figure 3",
        text,
        ruling([*map(sign, longer.values())], -1),
    )


def projection_claims(folder):
    """Figure 4."""
    found = {
        variant: values
        for (_, _, variant), values in last(
            "fig4_projection", "reward", "variant", "fold", folder
        ).items()
    }
    few = {"d / 64": found["fold x1/64"], "d / 8": found["fold x1/8"]}
    yield (
        "Fewer dimensions are worse",
        "10, Figure 4",
        listed(few),
        ruling([*map(sign, few.values())], -1),
    )
    more = found["fold x4"]
    text = f"4 d: {number(more)}"
    yield (
        "More than the default do not help",
        "10, Figure 4",
        text,
        "does not" if sign(more) == 1 else "holds",
    )


def theory_claims(folder):
    """Figure 6."""
    table = pd.read_csv(folder / "fig6_proposition_1.csv")
    own = table[(table["criterion"] == "uncertainty") & (table["round"] > 1)]
    found = {
        task: g.groupby("seed")["correlation"].mean().to_numpy()
        for task, g in own.groupby("task", sort=False)
    }
    text = "rank correlation " + listed(found)
    yield (
        "Uncertainty rises with the reward's error (what Prop. 1 is used for)",
        "11, Figure 6",
        text,
        ruling([*map(sign, found.values())]),
    )


def all_claims(folder=FIGURES):
    """Rows (claim, notebook, what was measured, ruling) of every claim, from the tables in
    `folder`.
    """
    folder = Path(folder)
    return [
        row
        for part in (
            main_claims,
            model_claims,
            normalisation_claims,
            projection_claims,
            theory_claims,
        )
        for row in part(folder)
    ]


def markdown(rows):
    """The README's table."""
    lines = ["| the paper's claim | notebook | measured here | |", "|---|---|---|---|"]
    return "\n".join(
        lines
        + [f"| {claim} | {notebook} | {text} | {found} |" for claim, notebook, text, found in rows]
    )


if __name__ == "__main__":
    print(markdown(all_claims()))
