"""The Bayesian reward on phi: a logistic regression of the labels so far, by Laplace's
approximation, in the dual form: never a d x d matrix.

The label of pair k is Bernoulli(sigma(z_k w)), z_k its phi, chosen minus rejected, and w is normal
with covariance I / prior. phi and z are first divided by the root of the pool's mean ||phi||^2, so
that one prior fits every normalisation (D4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, ndtri

from activedpo_lib.method.formulas import TINY
from activedpo_lib.records import Candidates
from activedpo_lib.streams import Stream

CLOSE = 1e-10  # a Newton step this small has converged
MOST_STEPS = 100


class RewardPosterior(NamedTuple):
    """What the labels so far say of a pool: `phi` (n, d) and `past` (k, d) float64, scaled; `mean`
    (n,), the expected reward gaps mu_i = phi_i w at the MAP; `covariance` (n, n) of the gaps.
    """

    phi: np.ndarray
    past: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    def draws(self, ids: Sequence[Any], count: int, *, stream: Stream) -> np.ndarray:
        """`count` draws of the pool's reward gaps, (count, n) float64. Their noise is named by the
        pairs' `ids`, and spread by the symmetric root of the covariance: the pool's order does not
        matter.
        """
        values, vectors = np.linalg.eigh(self.covariance)
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        noise = np.stack([ndtri(stream.child(at).uniforms(ids)) for at in range(count)])
        return self.mean + noise @ root


def reward_posterior(candidates: Candidates, prior: float = 0.1) -> RewardPosterior:
    """The posterior of the candidates' reward gaps; before any label, the prior's.

    candidates: with phi, and past_phi chosen minus rejected; prior: the precision lambda of w,
    positive.
    """
    if not prior > 0:
        raise ValueError(f"prior must be positive, got {prior}: it is a precision")
    phi = candidates.phi.astype(np.float64)
    past = phi[:0] if candidates.past_phi is None else candidates.past_phi.astype(np.float64)
    unit = np.sqrt(max(np.square(phi).sum(1).mean(), TINY))
    phi, past = phi / unit, past / unit
    kernel, cross = past @ past.T, phi @ past.T
    dual = map_dual(kernel, prior)
    gaps = kernel @ dual
    weights = expit(gaps) * expit(-gaps)
    seen = prior * np.diag(1 / np.maximum(weights, TINY)) + kernel
    covariance = phi @ phi.T
    if len(past):
        covariance -= cross @ cho_solve(cho_factor(seen), cross.T)
    return RewardPosterior(phi, past, cross @ dual, covariance / prior)


def map_dual(kernel: np.ndarray, prior: float) -> np.ndarray:
    """a (k,) of the MAP w = Z'a, which minimises sum log(1 + exp(-z_k w)) + prior / 2 |w|^2.

    kernel: Z Z' (k, k). Newton's method on the k equations prior a = sigma(-K a), each step halved
    until the loss falls.
    """
    dual = np.zeros(len(kernel))

    def loss(at: np.ndarray) -> float:
        gaps = kernel @ at
        return float(np.logaddexp(0.0, -gaps).sum() + prior / 2 * at @ gaps)

    for _ in range(MOST_STEPS):
        gaps = kernel @ dual
        weights = expit(gaps) * expit(-gaps)
        slope = prior * dual - expit(-gaps)
        step = np.linalg.solve(prior * np.eye(len(dual)) + weights[:, None] * kernel, slope)
        size = 1.0
        while loss(dual - size * step) > loss(dual) + CLOSE and size > CLOSE:
            size /= 2
        dual = dual - size * step
        if not len(step) or np.abs(step).max() < CLOSE:
            break
    return dual


def expected_weight(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """sigma (1 - sigma) at the mean gap, (n,), shrunk as MacKay (1992) does where the gap is
    uncertain: what a label still to come is expected to weigh.
    """
    gap = mean / np.sqrt(1 + np.pi * variance / 8)
    return expit(gap) * expit(-gap)


def after_pick(covariance: np.ndarray, at: int, weight: float) -> np.ndarray:
    """The pool's covariance (n, n) once pair `at` is labelled, a label that weighs `weight`."""
    row = covariance[at]
    return covariance - np.outer(row, row) * (weight / (1 + weight * row[at]))
