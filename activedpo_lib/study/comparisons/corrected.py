"""Many strategies against Random at once: paired t tests over seeds, corrected for their number."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t, ttest_1samp

from activedpo_lib.method.formulas import interval
from activedpo_lib.study.drawing.plots import difference_to
from activedpo_lib.study.tables import last_and_mean
from activedpo_lib.study.wording import joined

LEVEL = 0.05  # of the family: the chance that any verdict of level differences is another
WHENS = ("last round", "mean of rounds")
WORDS = {"reward": "reward", "utility": "true utility"}
Room = Mapping[tuple[str, str], float]  # (task, model): what full knowledge gains over Random


def paired_p(values: ArrayLike) -> float:
    """Two-sided p of the paired t test that the mean difference over seeds is 0; NaN for one seed.

    values: (seeds,) paired differences. Differences that are all the same and not 0 have p = 0.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return float("nan")
    if np.ptp(values) == 0:
        return float(values[0] == 0)
    return float(ttest_1samp(values, 0.0).pvalue)


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's corrected p, (n,), of the p (n,) of one family (Holm 1979): the k-th smallest times
    n - k + 1, never below a smaller one's, at most 1. NaN stays, and is counted in no family.
    """
    p = np.asarray(p, dtype=np.float64)
    found = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    left = len(order) - np.arange(len(order))
    found[order] = np.minimum(np.maximum.accumulate(left * p[order]), 1.0)
    return found


def simultaneous(values: ArrayLike, comparisons: int) -> float:
    """Half width of the interval over seeds that holds for all `comparisons` at once with 95 %
    (Bonferroni: wider than what Holm's verdict needs, so the two may differ at the edge).
    """
    return interval(values, 1 - LEVEL / max(1, comparisons))[1]


def corrected_verdicts(
    results: pd.DataFrame,
    measures: Sequence[str] = ("reward",),
    by: str = "strategy",
    baseline: str = "random",
    room: Room | None = None,
    one_family: bool = False,
) -> pd.DataFrame:
    """Every name of `by` against the baseline, a row a (measure, task, model, name, when), the best
    differences first in each cell; `when`: after the last round, or the mean over all rounds but
    the first (the area under the curve, a round's width being 1).

    The family of a correction is all rows of one measure and one `when`: all names, tasks and
    models; with `one_family`, those of all measures together. `value` is the name's own mean,
    `difference` its paired difference; ± is half the 95 % interval, `± corrected` that of all at
    once; `of the room` is the share of `room`, NaN unknown.
    """
    known = [m for m in measures if results[m].notna().all()]  # nobody may know a true utility
    if not known:
        raise ValueError(f"none of {list(measures)} is known for every row of the results")
    every = pd.concat([_compared(results, measure, by, baseline) for measure in known])
    families = every.groupby(["when"] if one_family else ["measure", "when"], sort=False)
    rows = [_corrected(family, room or {}) for _, family in families]
    found = pd.concat(rows, ignore_index=True).drop(columns="values")
    order = ["measure", "when", "task", "model"]
    keys = pd.Series(range(len(found))).groupby([found[key] for key in order]).transform("min")
    found = found.assign(_at=keys).sort_values(["_at", "difference"], ascending=[True, False])
    return found.drop(columns="_at").reset_index(drop=True)


def _compared(results: pd.DataFrame, measure: str, by: str, baseline: str) -> pd.DataFrame:
    rows, cells = [], ["task", "model", by]
    own = dict(list(results.groupby(cells, sort=False)))
    for cell, apart in difference_to(results, measure, baseline, by).groupby(cells, sort=False):
        here = {"measure": measure} | dict(zip(cells, cell, strict=True))
        summaries = zip(
            WHENS, last_and_mean(own[cell], measure), last_and_mean(apart, measure), strict=True
        )
        for when, value, values in summaries:
            row = here | {"when": when, "seeds": len(values), "value": value.mean()}
            rows.append(row | {"values": values})
    return pd.DataFrame(rows)


def _corrected(family: pd.DataFrame, room: Room) -> pd.DataFrame:
    halves = [interval(values) for values in family["values"]]
    p = np.array([paired_p(values) for values in family["values"]])
    together = int((~np.isnan(p)).sum())
    found = family.assign(difference=[mean for mean, _ in halves])
    found["±"] = [half for _, half in halves]
    found["± corrected"] = [simultaneous(values, together) for values in family["values"]]
    found["p"], found["p corrected"] = p, holm(p)
    found["verdict"] = [
        corrected_verdict(*row) for row in zip(found["difference"], found["p corrected"],
                                               strict=True)
    ]  # fmt: skip
    cells = zip(found["measure"], zip(found["task"], found["model"], strict=True), strict=True)
    rooms = [room.get(c, np.nan) if m == "reward" else np.nan for m, c in cells]
    found["of the room"] = found["difference"] / rooms  # the room is one of the oracle's reward
    return found


def corrected_verdict(difference: float, p: float, baseline: str = "Random") -> str:
    """What a corrected p establishes of a difference: above or below the baseline, or level."""
    if np.isnan(p):
        return "one seed"
    if p >= LEVEL:
        return "level"
    return f"{'above' if difference > 0 else 'below'} {baseline}"


def known_measures(table: pd.DataFrame) -> list[str]:
    """Reward, and the true utility where it is known for every row."""
    return [name for name in WORDS if name in table and table[name].notna().all()]


def cells_above(found: pd.DataFrame) -> str:
    """ "3 of 4 cells in reward and 1 of 4 cells in true utility (below in 1)", of the verdicts of
    `corrected_verdicts` at one time.
    """
    measures = found.groupby("measure", sort=False)["verdict"]
    return joined([count_above(list(own), WORDS[str(measure)]) for measure, own in measures])


def count_above(verdicts: Sequence[str], what: str) -> str:
    """ "1 of 4 cells in true utility (below in 1)", of each cell's corrected verdict."""
    above, below = (verdicts.count(f"{word} Random") for word in ("above", "below"))
    also = f" (below in {below})" if below else ""
    return f"{above} of {len(verdicts)} cells in {what}{also}"


def above_everywhere(found: pd.DataFrame, by: str = "strategy") -> list[str]:
    """The names that are above the baseline in every cell, of every measure and at both times, by
    corrected verdict. found: of `corrected_verdicts`.
    """
    above = found["verdict"].str.startswith("above").groupby(found[by], sort=False).all()
    return above.index[above].tolist()


def critical(seeds: int, level: float = LEVEL) -> float:
    """The t beyond which a paired t test of `seeds` seeds is significant at `level`, two-sided."""
    return float(t.ppf(1 - level / 2, seeds - 1))
