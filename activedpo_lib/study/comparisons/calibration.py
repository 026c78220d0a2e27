"""Does uncertainty know more of the error than the true gap does (Fig. 6)? Errors on one scale, and
measures that depend on none; each beyond the true gap, by partial rank correlation.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import spearmanr

from activedpo_lib.method.candidates import labelled_sequences
from activedpo_lib.method.design import uncertainty
from activedpo_lib.method.formulas import preference_probability
from activedpo_lib.method.logps import implicit_rewards
from activedpo_lib.runs.run import Run
from activedpo_lib.study.probing.probes import Round, pair_lengths, rounds_again
from activedpo_lib.study.studies import Study

LARGEST = 1e4  # of a fitted scale
DECILES = 10
# Spearman's correlation with the error, controlling the true gap, has a column for each of these.
MEASURES = ("error", "error on one scale", "wrong side", "log-loss")


def bradley_terry_scale(margins: ArrayLike) -> float:
    """The scale a >= 0 under which sigma(a r) fits the labels best (Eq. 1), in utils a nat.

    margins: r(chosen) - r(rejected) of the labelled pairs, (n,) nats. Labels count as right with
    probability (n + 1) / (n + 2), as Platt (1999) smooths them: pairs that were all learned would
    else have an infinite scale. 1 where there is no label, or no margin.
    """
    margins = np.asarray(margins, dtype=np.float64)
    if not np.any(margins):
        return 1.0
    target = (len(margins) + 1) / (len(margins) + 2)

    def slope(scale: float) -> float:
        return float((margins * (target - preference_probability(scale * margins, 0.0))).sum())

    if slope(0.0) <= 0:
        return 0.0
    return float(brentq(slope, 0.0, LARGEST)) if slope(LARGEST) < 0 else LARGEST


def labelled_scale(again: Round, beta: float) -> float:
    """The `bradley_terry_scale` of a round's policy, on the pairs labelled before it."""
    if not again.labelled:
        return 1.0
    rewards = implicit_rewards(again.policy, *labelled_sequences(again.labelled), beta)
    chosen, rejected = np.split(rewards.astype(np.float64), 2)
    return bradley_terry_scale(chosen - rejected)


def errors(margin: np.ndarray, gap: np.ndarray, scale: float) -> dict[str, np.ndarray]:
    """How wrong the model is about each pair, (n,) each, a key a name of MEASURES.

    margin: r(y1) - r(y2), nats; gap: u(y1) - u(y2), utils. Wrong side: 1 where their signs differ,
    a half where the margin is 0; log-loss: of sigma(scale margin), expected over the labels that
    the truth draws (Eq. 1), nats.
    """
    margin = margin.astype(np.float64)
    true = preference_probability(gap, 0.0)
    loss = np.logaddexp(0.0, -scale * margin) * true + np.logaddexp(0.0, scale * margin) * (
        1 - true
    )
    wrong = 0.5 * (1 - np.sign(margin) * np.where(gap >= 0, 1.0, -1.0))
    found = np.abs(margin - gap), np.abs(scale * margin - gap), wrong, loss
    return dict(zip(MEASURES, found, strict=True))


def partial_spearman(x: ArrayLike, y: ArrayLike, control: ArrayLike) -> float:
    """Spearman's correlation of x and y, (n,) each, controlling a third: the correlation of what is
    left of their ranks when the control's is taken out linearly. 0 where nothing is left.
    """
    if min(np.ptp(x), np.ptp(y), np.ptp(control)) == 0:
        return 0.0
    xy, xz, yz = (spearmanr(*two)[0] for two in ((x, y), (x, control), (y, control)))
    left = (1 - xz**2) * (1 - yz**2)
    return float((xy - xz * yz) / np.sqrt(left)) if left > 1e-12 else 0.0


def beyond_gap(found: dict) -> list[dict]:
    """Rows (measure, correlation, beyond the gap) of uncertainty with each measure of error. found:
    of `uncertainty_and_error`, one round.
    """
    rows = []
    for name in MEASURES:
        of = found["errors"][name]
        flat = np.ptp(of) == 0
        plain = 0.0 if flat else float(spearmanr(found["uncertainty"], of)[0])
        beyond = partial_spearman(found["uncertainty"], of, found["true gap"])
        rows.append({"measure": name, "correlation": plain, "beyond the gap": beyond})
    return rows


def by_decile(found: dict) -> pd.DataFrame:
    """Mean of each measure of error and of the true gap, a row a tenth of the pool's pairs, from
    the least to the most uncertain. found: of `uncertainty_and_error`, one round.
    """
    rank = found["uncertainty"].argsort(kind="stable").argsort(kind="stable")
    decile = 1 + DECILES * rank // len(rank)
    table = pd.DataFrame(found["errors"] | {"true gap": found["true gap"]})
    means = table.groupby(decile).mean()
    return means.rename_axis("decile").reset_index()


def uncertainty_and_error(run: Run) -> list[dict]:
    """One dict a round: `error` (n,) = |(r(x, y1) - r(x, y2)) - (u(x, y1) - u(x, y2))| of each pair
    of the pool, and what might rank it: uncertainty, gradient norm, |r1 - r2|, length; `errors`:
    its measures. Raises ValueError where the truth is not known.
    """
    if run.task.utility is None:
        raise ValueError(
            f"{run.task.name} is real text: Proposition 1 can be checked only where the true "
            "reward is known"
        )
    found = []
    for t in rounds_again(run, needs=frozenset({"phi", "margin"})):
        pool, seen = t.pool, t.candidates
        true = np.array(
            [
                run.task.utility(pool.prompts[k], r.text)
                for k, r in zip(pool.prompt_index, pool.responses, strict=True)
            ]
        )
        gap = true[pool.pairs[:, 0]] - true[pool.pairs[:, 1]]
        found.append(
            {"round": t.t, "error": np.abs(seen.margin - gap), "true gap": np.abs(gap),
             "errors": errors(seen.margin, gap, labelled_scale(t, run.params.dpo.beta)),
             "uncertainty": uncertainty(seen.phi, seen.ridge, seen.past_phi),
             "gradient norm": np.linalg.norm(seen.phi.astype(np.float64), axis=1),
             "|r1 - r2|": np.abs(seen.margin.astype(np.float64)), "length": pair_lengths(pool)}
        )  # fmt: skip
    return found


def correlation_table(study: Study) -> tuple[pd.DataFrame, ...]:
    """Fig. 6: how well each criterion ranks a pool's pairs by the error of the reward difference,
    rows (task, seed, round, criterion, correlation); (uncertainty, error) of the last pool; the
    rows of `beyond_gap`, and those of `by_decile`, with task, seed and round.

    Spearman's rank correlation; 0 where a criterion is the same for all pairs. Raises ValueError
    where the truth is not known.
    """
    rows, beyond, deciles, found = [], [], [], None
    for cell, run in study.runs():
        for found in uncertainty_and_error(run):
            here = {"task": cell["task"], "seed": cell["seed"], "round": found["round"]}
            for name in ("uncertainty", "gradient norm", "|r1 - r2|", "length", "true gap"):
                value = found[name]
                rank = spearmanr(value, found["error"])[0] if np.ptp(value) > 1e-6 else 0.0
                rows.append(here | {"criterion": name, "correlation": rank})
            beyond += [here | row for row in beyond_gap(found)]
            deciles += [here | row for row in by_decile(found).to_dict("records")]
    scatter = pd.DataFrame({k: found[k] for k in ("uncertainty", "error")})
    return pd.DataFrame(rows), scatter, pd.DataFrame(beyond), pd.DataFrame(deciles)
