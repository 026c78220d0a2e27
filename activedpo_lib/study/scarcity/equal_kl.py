"""Does a strategy gain more than Random with another step size, at an equal distance from pi_SFT?

A policy that moves further gains more, whoever chose its labels. Random's runs at several step
sizes say what it reaches at which KL; a strategy is compared with what Random reaches at its own
KL, between the two nearest of these runs, in sqrt(KL): for small steps both the gain and sqrt(KL)
are proportional to the step (as in Gao et al. 2023, Scaling laws for reward model
overoptimization, whose d is sqrt(KL)).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

CELL, RUN = ["task", "model"], ["task", "model", "seed"]


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
    """Each run of `sizes` less what Random reaches at its KL with the same seed, in every measure,
    a row a (task, model, strategy, variant, seed); NaN where Random did not go so far.

    sizes, randoms: of `update_table`, the last round of the strategies' runs and of Random's at
    several step sizes; results: what pi_SFT had, in round 0. Raises ValueError where Random lacks
    a run's task, model or seed.
    """
    start = results[results["round"] == 0].drop_duplicates(RUN).set_index(RUN)
    curves = dict(list(randoms.groupby(RUN, sort=False)))
    rows = []
    for found in sizes[sizes["strategy"] != "random"].to_dict("records"):
        run = tuple(found[key] for key in RUN)
        if run not in curves:
            raise ValueError(f"Random was not run for {run} at several step sizes; give its seeds")
        curve = curves[run]
        apart = {
            name: found[name]
            - random_reaches(
                curve["kl"].to_numpy(), curve[name].to_numpy(), start.loc[run, name], found["kl"]
            )
            for name in measures
        }
        keys = (*CELL, "strategy", "variant", "seed", "kl")
        rows.append({key: found[key] for key in keys} | apart)
    return pd.DataFrame(rows)


def by_cell(
    apart: pd.DataFrame, strategy: str, measure: str, variant: str = "oracle"
) -> Mapping[tuple[str, str], np.ndarray]:
    """{(task, model): differences at equal KL (seeds,)} of a strategy; a seed where Random did not
    go so far is left out, and a cell where that is half of them or more.
    """
    own = apart[(apart["strategy"] == strategy) & (apart["variant"] == variant)]
    found = {}
    for cell, runs in own.groupby(CELL, sort=False):
        values = runs.sort_values("seed")[measure].to_numpy()
        if 2 * np.isfinite(values).sum() > len(values):
            found[cell] = values[np.isfinite(values)]
    return found


def over_cells(apart: pd.DataFrame, measure: str, variant: str = "oracle") -> dict[str, np.ndarray]:
    """{strategy: differences at equal KL (seeds,), a seed's mean over tasks and models}; of a seed,
    the cells where Random went so far, and none where these are not more than half.
    """
    own = apart[apart["variant"] == variant]
    runs = own.groupby(["strategy", "seed"], sort=False)[measure]
    means = runs.mean().where(2 * runs.count() > runs.size()).dropna()
    return {str(name): values.to_numpy() for name, values in means.groupby(level=0, sort=False)}
