"""Whose labels would push the policy the right way? One round ahead, on pools of finished runs.

With d_i the oracle's gap of pair i, g = sum_i d_i phi_i is the direction that raises the pool's
expected reward. A batch's labels push along sum_b sign(d_b) phi_b. The cosine of the two is what
the batch teaches, to first order: 1 the best there is, 0 nothing. It costs seconds a strategy,
where runs cost minutes, and every strategy sees the same pools and the same labels before.
"""

import numpy as np
import pandas as pd

from activedpo_lib.method.ceilings import CEILINGS
from activedpo_lib.method.formulas import TINY
from activedpo_lib.method.strategies import make_strategy
from activedpo_lib.records import Candidates
from activedpo_lib.runs.run import Run
from activedpo_lib.runs.steps import true_gaps
from activedpo_lib.schema import KNOWING
from activedpo_lib.streams import Stream
from activedpo_lib.study.probing.probes import Round, rounds_again
from activedpo_lib.study.studies import Study

NEEDS = frozenset({"phi", "margin", "entropy"})
ASKED = (
    "random", "activedpo", "aplp", "gradient_norm", "k_center", "predicted_gap",
    "predicted_improvement", "upper_confidence_gap", "novel_gap",
)  # fmt: skip
DRAWS = 20  # of Random's batch: one alone is mostly noise


def alignment(phi: np.ndarray, gaps: np.ndarray, rows: np.ndarray) -> float:
    """cos(sum_b sign(d_b) phi_b, sum_i d_i phi_i), b in `rows`. phi (n, d), gaps d (n,)."""
    phi = phi.astype(np.float64)
    push, goal = np.sign(gaps[rows]) @ phi[rows], gaps @ phi
    return float(push @ goal / max(TINY, np.linalg.norm(push) * np.linalg.norm(goal)))


def alignment_table(study: Study) -> pd.DataFrame:
    """A row a (task, model, seed, round, strategy) of Random's runs in the study: the `alignment`
    of the batch that each strategy of ASKED, and full knowledge, would pick there.
    """
    rows = []
    for cell, run in study.runs():
        if run.params.chooser != "random":
            continue  # a ceiling's run has other pools
        where = {key: cell[key] for key in ("task", "model", "seed")}
        for t in rounds_again(run, needs=NEEDS):
            rows += [where | {"round": t.t} | found for found in _of_round(run, t)]
    return pd.DataFrame(rows)


def _of_round(run: Run, t: Round) -> list[dict]:
    gaps, found = true_gaps(run, t.pool), t.candidates
    size, stream = min(run.params.batch_size, len(gaps)), run.stream("alignment", t.t)
    rows = []
    for name in ASKED:
        draws = DRAWS if name == "random" else 1
        picks = [_picked(run, name, found, size, stream=stream.child(at)) for at in range(draws)]
        values = [alignment(found.phi, gaps, rows) for rows in picks]
        rows.append({"strategy": name, "alignment": float(np.mean(values))})
    for name, ceiling in CEILINGS.items():
        best = ceiling.select(found, gaps, size, stream=stream).indices
        value = alignment(found.phi, gaps, best)
        rows.append({"strategy": f"{KNOWING}{name}", "alignment": value})
    return rows


def _picked(run: Run, name: str, found: Candidates, size: int, *, stream: Stream) -> np.ndarray:
    strategy = make_strategy(name, vars(run.params.selection))
    return strategy.select(found, size, stream=stream).indices


def mean_alignments(table: pd.DataFrame) -> pd.Series:
    """The mean over rounds and seeds, indexed by (strategy, task, model)."""
    return table.groupby(["strategy", "task", "model"], sort=False)["alignment"].mean()
