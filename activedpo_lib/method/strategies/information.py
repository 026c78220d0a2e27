"""Strategies on what a label would tell, by the Bayesian reward (`posterior.py`): of the reward, of
held-out prompts, or beside a spread over prompts. A batch is picked one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import digamma, entr, expit

from activedpo_lib.method.formulas import TINY
from activedpo_lib.method.strategies.greedy import one_by_one
from activedpo_lib.method.strategies.posterior import (
    RewardPosterior,
    after_pick,
    expected_weight,
    reward_posterior,
)
from activedpo_lib.method.strategies.reward import on_the_reward
from activedpo_lib.records import Candidates, Selection, Strategy
from activedpo_lib.streams import Stream


def _quadrature(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the mean over a standard normal."""
    places, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return places, weights / weights.sum()


NODES, WEIGHTS = _quadrature(20)
PAIRED = _quadrature(8)  # for two gaps at once, where each node counts twice


def bald(prior: float = 0.1) -> Strategy:
    """BALD (Houlsby et al. 2011): the largest mutual information of the label and the reward."""
    return on_the_reward(information, prior)


def information(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """H(E sigma(f)) - E H(sigma(f)) in nats, f ~ N(mean, variance), by Gauss-Hermite quadrature."""
    gaps = mean[:, None] + np.sqrt(variance)[:, None] * NODES
    each = expit(gaps)
    whole = each @ WEIGHTS
    return entr(whole) + entr(1 - whole) - (entr(each) + entr(1 - each)) @ WEIGHTS


def epig(prior: float = 0.1) -> Strategy:
    """EPIG (Bickford Smith et al. 2023): what tells most of the labels of held-out prompts' pairs.

    The largest mutual information, on average, of the pair's label and theirs, which nobody is
    asked for.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        both = np.concatenate([candidates.phi, candidates.target_phi])
        known = reward_posterior(candidates._replace(phi=both), prior)
        covariance, count = known.covariance.copy(), len(candidates.ids)

        def values() -> np.ndarray:
            return shared_information(known.mean, covariance, count).mean(1)

        def add(at: int) -> None:
            _label(known, covariance, at)

        return one_by_one(batch_size, stream.uniforms(candidates.ids), values, add)

    return Strategy(frozenset({"phi", "target_phi"}), select)


def shared_information(mean: np.ndarray, covariance: np.ndarray, count: int) -> np.ndarray:
    """I(label i; label j) in nats, (count, m), of the first `count` pairs i and the m later ones j.

    mean (n,), covariance (n, n) of the reward gaps, jointly normal; by quadrature over i's gap,
    then over j's given i's.
    """
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    own, target = deviation[:count], deviation[count:]
    slope = covariance[:count, count:] / np.maximum(own, TINY)[:, None]
    left = np.sqrt(np.maximum(np.square(target) - np.square(slope), 0.0))
    both = np.zeros((2, 2, *slope.shape))  # P(label i, label j)
    for node, weight in zip(*PAIRED, strict=True):
        first = expit(mean[:count] + own * node)[:, None]
        gaps = mean[count:] + slope * node
        second = sum(share * expit(gaps + left * at) for at, share in zip(*PAIRED, strict=True))
        for i, p in enumerate((first, 1 - first)):
            for j, q in enumerate((second, 1 - second)):
                both[i, j] += weight * p * q
    apart = entr(both.sum(0)).sum(0) + entr(both.sum(1)).sum(0)
    return apart - entr(both).sum((0, 1))


def bal_pm(prior: float = 0.1, prompt_entropy: float = 1.0, neighbours: int = 5) -> Strategy:
    """BAL-PM (Melo et al. 2024): BALD's information plus a spread over prompts.

    The spread is `prompt_entropy` times what the pair's prompt adds to the entropy of the labelled
    prompts, estimated from its nearest `neighbours`.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        known = reward_posterior(candidates, prior)
        covariance = known.covariance.copy()
        near = _near(candidates, neighbours)
        crowd = near.labelled.copy()

        def values() -> np.ndarray:
            told = information(known.mean, np.maximum(np.diagonal(covariance), 0.0))
            spread = near.log_distance - digamma(crowd + 1) / near.dimensions
            return told + prompt_entropy * spread[candidates.prompt]

        def add(at: int) -> None:
            _label(known, covariance, at)
            crowd[:] = crowd + near.within[:, candidates.prompt[at]]

        return one_by_one(batch_size, stream.uniforms(candidates.ids), values, add)

    return Strategy(frozenset({"phi", "prompt_hidden"}), select)


class _Near(NamedTuple):
    """What the entropy estimate reads of the pool's n prompts: `log_distance` (n,) to the k-th
    neighbour among all prompts, doubled; `labelled` (n,) labelled prompts nearer than it; `within`
    (n, n) which of the pool's are; the features' `dimensions`.
    """

    log_distance: np.ndarray
    labelled: np.ndarray
    within: np.ndarray
    dimensions: int


def _near(candidates: Candidates, neighbours: int) -> _Near:
    pool, past = (
        x.astype(np.float64) for x in (candidates.prompt_hidden, candidates.past_prompt_hidden)
    )
    apart, to_past = cdist(pool, pool), cdist(pool, past)
    others = np.sort(np.concatenate([apart, to_past], 1), 1)[:, 1:]  # its own is the first
    last = min(neighbours, others.shape[1]) - 1
    reach = others[:, last] if last >= 0 else np.zeros(len(pool))  # a lone prompt
    within = (apart <= reach[:, None]).astype(float)
    labelled = (to_past <= reach[:, None]).sum(1).astype(float)
    return _Near(np.log(np.maximum(2 * reach, TINY)), labelled, within, pool.shape[1])


def _label(known: RewardPosterior, covariance: np.ndarray, at: int) -> None:
    """Lower the covariance, in place, as the label of pair `at` is expected to."""
    weight = expected_weight(known.mean[at], covariance[at, at])
    covariance[:] = after_pick(covariance, at, float(weight))
