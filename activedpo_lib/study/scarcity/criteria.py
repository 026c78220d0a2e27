"""What a laboratory must show before strategies are compared in it: seven criteria, and what this
one shows of each. All are about Random, and about one who knows every reward.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from activedpo_lib.method.formulas import interval
from activedpo_lib.schema import Params
from activedpo_lib.study.scarcity.numbers import gains, measure_of, room, share_lost
from activedpo_lib.study.tables import last_round
from activedpo_lib.study.wording import joined, paragraphs, plain, share
from activedpo_lib.tasks.pools import labelled_share

BUDGET, ELASTICITY, TAUGHT, HALF_WIDTHS, CPU_SECONDS = 0.03, 0.25, 0.5, 4, 25
STEPS = ("step x1/2", "usual", "step x2")  # of Figure 15
Row = tuple[str, str, str, bool]  # criterion, what is wanted, what was found, met


def criteria_table(
    rooms: pd.DataFrame, params: Params, figures: Path | str, root: Path | str
) -> pd.DataFrame:
    """A row a criterion: what it is, what is wanted, what was found in each (task, model), and
    whether it is met in all of them, by the means.

    rooms: the runs of Figure 16; params: any cell's; figures: the folder that may hold Figure 15's
    table: without it, what only that figure measures is left out; root: the folder of all runs,
    whose tables may hold Random's runs of Figure 1.
    """
    rows = [*_budget(params), *_of_elasticity(figures), *_of_room(rooms)]
    rows += [*_stability(_of_random(rooms, root)), *_cost(rooms)]
    return pd.DataFrame(rows, columns=["criterion", "wanted", "found", "met"])


def without_cost(table: pd.DataFrame) -> pd.DataFrame:
    """The criteria that are the same on every machine: seconds are a machine's own."""
    return table[~table["criterion"].str.startswith("cost")].reset_index(drop=True)


def sentence(table: pd.DataFrame) -> str:
    """Which criteria are met, and of each that is not, what was found. table: as saved."""
    missed = table[~table["met"]].to_dict("records")
    lines = [
        f"Of {len(table)} criteria that a laboratory should meet, this one meets "
        f"{len(table) - len(missed)}, judged by means."
    ]
    for row in missed:
        what = row["criterion"].split(": ")[1]
        lines.append(f"Not met: {what}; wanted {row['wanted']}, found {row['found']}.")
    more = "One more, what a run costs, is each machine's own, and stands in the notebook."
    return paragraphs("**" + "\n".join(lines) + "**", more)


def _budget(params: Params) -> Iterator[Row]:
    found = labelled_share(params)
    yield (
        "budget: labels a round",
        f"at most {share(BUDGET)} of the pool",
        f"{found:.1%}",
        (found <= BUDGET),
    )


def _of_elasticity(figures: Path | str) -> Iterator[Row]:
    path = Path(figures) / "fig15_label_elasticity.csv"
    if not figures or not path.is_file():
        return
    table = pd.read_csv(path)
    found = gains(table, "variant")
    for variant, what, least in (
        ("half the labels", "elasticity: lost with half the labels, at equal steps", ELASTICITY),
        ("its own labels", "labels teach: lost with the model's own labels", TAUGHT),
    ):
        if variant not in set(table["variant"]):  # a replay has no labels of its own
            continue
        lost = share_lost(found, variant, "usual")
        told = joined([share(value) for value in lost.values()])
        wanted = f"at least {share(least)} of the gain"
        yield what, wanted, told, all(value >= least for value in lost.values())
    yield from _tuned(table)


def _tuned(table: pd.DataFrame) -> Iterator[Row]:
    """The figures' draw is asked what the tuning draw decided."""
    steps = last_round(table[table["variant"].isin(STEPS)])
    best, met = [], True
    for measure in (measure_of(table), "utility"):
        if measure in steps and steps[measure].notna().all():
            cells = ["task", "model"]
            means = steps.groupby([*cells, "variant"], sort=False)[measure].mean()
            names = [means[cell].idxmax() for cell in steps.groupby(cells, sort=False).groups]
            same = f"{names[0]} in each" if len(set(names)) == 1 else joined(names)
            best.append(f"{measure}: {same}")
            met = met and set(names) == {"usual"}
    yield "tuned: which step size is best", "the usual one", "; ".join(best), met


def _of_room(rooms: pd.DataFrame) -> Iterator[Row]:
    widths = [mean / half for mean, half in map(interval, room(rooms).values())]
    if any(math.isnan(width) for width in widths):  # one seed has no interval to be judged by
        return
    told = joined([plain(width) for width in widths])
    met = all(width >= HALF_WIDTHS for width in widths)
    wanted = f"at least {HALF_WIDTHS}"
    yield "room: full knowledge's gain over Random, divided by half its interval", wanted, told, met


def _of_random(rooms: pd.DataFrame, root: Path | str) -> pd.DataFrame:
    """Random's runs: Figure 16's, and those of Figure 1, which may have more seeds."""
    more = map(pd.read_csv, sorted(Path(root).glob("tables/baselines_*.csv")))
    every = pd.concat([table[table["strategy"] == "random"] for table in (rooms, *more)])
    return every.drop_duplicates(["task", "model", "seed", "round"])


def _stability(random: pd.DataFrame) -> Iterator[Row]:
    falls, met = [], True
    for measure in (measure_of(random), "utility"):
        if measure in random and random[measure].notna().all():
            each = gains(random, "strategy", measure).values()
            fell, runs = sum(int((own < 0).sum()) for own in each), sum(len(own) for own in each)
            falls.append(f"{measure}: {fell} of {runs}")
            met = met and fell == 0
    yield "stability: runs of Random that end below their start", "none", "; ".join(falls), met


def _cost(rooms: pd.DataFrame) -> Iterator[Row]:
    if "cpu_seconds" not in rooms:
        return
    most = rooms.groupby(["task", "model", "strategy", "seed"])["cpu_seconds"].sum().max()
    wanted = f"at most {CPU_SECONDS} CPU seconds"
    yield "cost: the longest run", wanted, f"{plain(most, 0)} s", bool(most <= CPU_SECONDS)
