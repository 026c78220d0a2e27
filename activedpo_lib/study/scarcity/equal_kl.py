"""Does a strategy gain more than Random with another step size, at an equal distance from pi_SFT?

A policy that moves further gains more, whoever chose its labels. Random's runs at several step
sizes say what it reaches at which KL; a strategy is compared with what Random of the same seed
reaches at its own KL, on a straight line between the two nearest of these runs, in sqrt(KL) (the
distance of Gao et al. 2023, Scaling laws for reward model overoptimization).

A curve that bends down lies above such a line, so the comparison is a little kind to a strategy.
How much, the placebo says: Random's own usual run, compared with its other step sizes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

CELL, RUN = ["task", "model"], ["task", "model", "seed"]
PLACEBO = "random, held out"
AT_STEP = "_at_step"  # a measure's difference at the same step size


def random_reaches(kl: np.ndarray, reached: np.ndarray, start: float, at: float) -> float:
    """What Random reaches at the KL `at`, nats: between the runs (kl, reached), (n,) each, and
    pi_SFT (0, start). NaN where no run went so far: nothing is extrapolated.
    """
    roots = np.sqrt(np.maximum(0.0, [0.0, *kl]))
    order, root = np.argsort(roots, kind="stable"), np.sqrt(max(0.0, at))
    values = np.array([start, *reached])
    return float(np.interp(root, roots[order], values[order], right=np.nan))


def beyond_random(
    sizes: pd.DataFrame, randoms: pd.DataFrame, results: pd.DataFrame, measures: Sequence[str]
) -> pd.DataFrame:
    """Each strategy's run less what Random of the same seed reaches at its KL, in every measure, a
    row a (task, model, strategy, variant, seed); NaN where Random did not go so far. Beside it, in
    `<measure>_at_step`, the difference to Random's usual run; and the placebo's rows.

    sizes, randoms: of `update_table`, the last round, of the strategies and of Random at several
    step sizes (variant "usual" among them); results: what pi_SFT had, in round 0. Raises ValueError
    where Random lacks a run's task, model or seed.
    """
    start = results[results["round"] == 0].drop_duplicates(RUN).set_index(RUN)
    usual = randoms[randoms["variant"] == "usual"]
    others = randoms[randoms["variant"] != "usual"]
    strategies = sizes[sizes["strategy"] != "random"]
    placebo = usual.assign(strategy=PLACEBO, variant=next(iter(strategies["variant"]), "usual"))
    rows = [
        *_compared(strategies, randoms, usual, start, measures),
        *_compared(placebo, others, usual, start, measures),
    ]
    return pd.DataFrame(rows)


def _compared(
    runs: pd.DataFrame,
    randoms: pd.DataFrame,
    usual: pd.DataFrame,
    start: pd.DataFrame,
    measures: Sequence[str],
) -> list[dict]:
    curves, usual, rows = dict(list(randoms.groupby(RUN))), usual.set_index(RUN), []
    for found in runs.to_dict("records"):
        run = tuple(found[key] for key in RUN)
        if run not in curves:
            raise ValueError(f"Random was not run for {run} at several step sizes; give its seeds")
        kl, row = curves[run]["kl"].to_numpy(), {k: found[k] for k in (*RUN, "strategy", "variant")}
        row["kl"] = found["kl"]
        for name in measures:
            there = curves[run][name].to_numpy()
            row[name] = found[name] - random_reaches(kl, there, start.loc[run, name], found["kl"])
            row[name + AT_STEP] = found[name] - usual.loc[run, name]
        rows.append(row)
    return rows


def by_cell(
    apart: pd.DataFrame, strategy: str, measure: str, variant: str = "oracle"
) -> dict[tuple[str, str], np.ndarray]:
    """{(task, model): differences at equal KL (seeds,)} of a strategy; a seed where Random did not
    go so far is left out. Where that is half of them or more, none is left: the cell is not judged.
    """
    own = apart[(apart["strategy"] == strategy) & (apart["variant"] == variant)]
    found = {}
    for cell, runs in own.groupby(CELL, sort=False):
        values = runs.sort_values("seed")[measure].to_numpy()
        known = values[np.isfinite(values)]
        found[cell] = known if 2 * len(known) > len(values) else known[:0]
    return found


def over_cells(
    apart: pd.DataFrame, measure: str, variant: str = "oracle"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{strategy: its differences at the same step size and at equal KL, (seeds,) each, a seed's
    mean over tasks and models}, both of the same runs: those where Random went so far; without a
    seed where these are half or fewer.
    """
    means = _means(apart[apart["strategy"] != PLACEBO], measure, variant)
    return {
        str(name): (values[measure + AT_STEP].to_numpy(), values[measure].to_numpy())
        for name, values in means.groupby(level=0, sort=False)
    }


def less_placebo(
    apart: pd.DataFrame, measure: str, variant: str = "oracle"
) -> dict[str, np.ndarray]:
    """{strategy: its differences at equal KL less the placebo's, (seeds,)}, paired by task, model
    and seed, then a seed's mean over tasks and models as in `over_cells`; and the placebo's own
    under its name. Empty without a placebo.
    """
    own = apart[apart["variant"] == variant]
    held_out = own["strategy"] == PLACEBO
    placebo, others = own[held_out], own[~held_out]
    if placebo.empty:
        return {}
    beside = placebo.set_index(RUN)[measure].reindex(pd.MultiIndex.from_frame(others[RUN]))
    less = others.assign(**{measure: others[measure].to_numpy() - beside.to_numpy()})
    means = _means(pd.concat([less, placebo]), measure, variant)[measure]
    return {str(name): v.to_numpy() for name, v in means.groupby(level=0, sort=False)}


def _means(apart: pd.DataFrame, measure: str, variant: str) -> pd.DataFrame:
    """A row a (strategy, seed): the mean over tasks and models of `measure` at equal KL and at the
    same step.
    """
    own = apart[apart["variant"] == variant]
    known = own[own[measure].notna()]
    keys, columns = ["strategy", "seed"], [measure + AT_STEP, measure]
    runs, every = known.groupby(keys, sort=False)[columns], own.groupby(keys, sort=False).size()
    return runs.mean()[2 * runs.size() > every.reindex(runs.size().index)]
