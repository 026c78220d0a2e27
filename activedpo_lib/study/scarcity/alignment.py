"""Whose labels would push the policy the right way? One round ahead, in pools of finished runs.

With d_j the oracle's gap of a pair of responses to held-out prompts, g = sum_j d_j phi_j is the
direction that raises their expected reward. A batch's labels push along sum_b sign(d_b) phi_b. The
cosine of the two is a first approximation of what the batch teaches: 0 is nothing. phi is as the
strategies see it (normalised, D4; projected, D7); DPO's weights and its optimiser are left out.
"""

import dataclasses

import numpy as np
import pandas as pd

from activedpo_lib.method.candidates import target_column
from activedpo_lib.method.ceilings import CEILINGS
from activedpo_lib.method.formulas import TINY
from activedpo_lib.method.generation import generate
from activedpo_lib.method.strategies import make_strategy
from activedpo_lib.records import Past
from activedpo_lib.runs.run import Run
from activedpo_lib.runs.steps import reader_of, sampling, true_gaps
from activedpo_lib.schema import KNOWING
from activedpo_lib.study.probing.probes import Round, rounds_again
from activedpo_lib.study.studies import Study

NEEDS = frozenset({"phi", "margin", "entropy"})
ASKED = (
    "random", "activedpo", "aplp", "gradient_norm", "k_center", "predicted_gap",
    "predicted_improvement", "upper_confidence_gap", "novel_gap",
)  # fmt: skip
DRAWS = 20  # of Random's batch: one alone is mostly noise


def alignment(phi: np.ndarray, gaps: np.ndarray, rows: np.ndarray, goal: np.ndarray) -> float:
    """cos(sum_b sign(d_b) phi_b, goal), b in `rows`. phi (n, d), gaps d (n,), goal (d,)."""
    push = np.sign(gaps[rows]) @ phi[rows].astype(np.float64)
    return float(push @ goal / max(TINY, np.linalg.norm(push) * np.linalg.norm(goal)))


def goal_of(run: Run, t: Round) -> np.ndarray:
    """g = sum_j d_j phi_j (d,) over pairs of the policy's responses to the evaluation prompts: none
    of them is in any pool.
    """
    noise = run.stream("alignment", t.t)
    asked = generate(
        t.policy, run.tokenizer, run.task.evaluation, sampling(run.params), stream=noise
    )
    reader = dataclasses.replace(reader_of(run, t.policy, t.t), targets=asked)
    phi = target_column(asked, Past(), reader)["target_phi"]
    return true_gaps(run, asked) @ phi.astype(np.float64)


def alignment_table(study: Study) -> pd.DataFrame:
    """A row a (task, model, seed, round, strategy) of Random's runs in the study: the `alignment`
    of the batch that each strategy of ASKED, and full knowledge, would pick there, all with the
    labels that Random had. Raises ValueError in a replay, which has no rewards, and where the
    labelled pairs' features were not kept (D3), which the strategies would need.
    """
    rows = []
    for cell, run in study.only(lambda _, params: params.chooser == "random").runs():
        if run.score is None:
            raise ValueError("a replay has no rewards: nothing says where they rise; leave it out")
        if run.params.selection.past != "reembed":
            raise ValueError("Random's runs keep no features: set selection.past to reembed")
        where = {key: cell[key] for key in ("task", "model", "seed")}
        for t in rounds_again(run, needs=NEEDS):
            rows += [where | {"round": t.t} | found for found in _of_round(run, t)]
    return pd.DataFrame(rows)


def _of_round(run: Run, t: Round) -> list[dict]:
    gaps, goal, found = true_gaps(run, t.pool), goal_of(run, t), t.candidates
    size, stream = min(run.params.batch_size, len(gaps)), run.stream("alignment picks", t.t)
    rows = []
    for name in ASKED:
        strategy = make_strategy(name, vars(run.params.selection))
        values = [
            alignment(found.phi, gaps, picked.indices, goal)
            for at in range(DRAWS if name == "random" else 1)
            for picked in [strategy.select(found, size, stream=stream.child(at))]
        ]
        rows.append({"strategy": name, "alignment": float(np.mean(values))})
    for name, ceiling in CEILINGS.items():
        picked = ceiling.select(found, gaps, size, stream=stream)
        value = alignment(found.phi, gaps, picked.indices, goal)
        rows.append({"strategy": f"{KNOWING}{name}", "alignment": value})
    return rows


def mean_alignments(table: pd.DataFrame) -> pd.Series:
    """The mean over rounds and seeds, indexed by (strategy, task, model)."""
    return table.groupby(["strategy", "task", "model"], sort=False)["alignment"].mean()
