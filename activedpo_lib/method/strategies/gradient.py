"""Strategies on the gradients of the policy's own implicit reward: ActiveDPO and its kin."""

from __future__ import annotations

import numpy as np

from activedpo_lib.method.design import largest, select_greedy, uncertainty
from activedpo_lib.method.formulas import unit_rows
from activedpo_lib.method.strategies.greedy import one_by_one, past_features
from activedpo_lib.records import Candidates, Selection, Strategy
from activedpo_lib.streams import Stream


def activedpo(repeat_prompts: bool = True) -> Strategy:
    """The paper's: greedy argmax of ||grad r(x, y1) - grad r(x, y2)|| in V^-1 (Eq. 3, 4).

    V grows with each pick. repeat_prompts: whether a batch may ask about a prompt twice (D13).
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        return select_greedy(
            candidates.phi,
            batch_size,
            candidates.ridge,
            candidates.past_phi,
            ties=stream.uniforms(candidates.ids)[candidates.rows],
            prompts=None if repeat_prompts else candidates.prompt[candidates.rows],  # D13
            processes=candidates.processes,
        )

    return Strategy(frozenset({"phi"}), select, shares=True)


def gradient_norm() -> Strategy:
    """This project's control: the largest ||phi||, ActiveDPO's criterion without V."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        norms = np.linalg.norm(candidates.phi.astype(np.float64), axis=1)
        return largest(norms, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"phi"}), select)


def frozen_v() -> Strategy:
    """This project's control (Fig. 7): ActiveDPO with V fixed in a batch, B picks at once."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        scores = uncertainty(candidates.phi, candidates.ridge, candidates.past_phi)
        return largest(scores, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"phi"}), select)


def k_center() -> Strategy:
    """Core-set (Sener and Savarese 2018): the phi farthest from all labelled and picked ones."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        phi, distance = candidates.phi.astype(np.float64), np.full(len(candidates.phi), np.inf)

        def nearer(known: np.ndarray) -> None:
            np.minimum(distance, np.linalg.norm(phi - known, axis=1), out=distance)

        for known in past_features(candidates).astype(np.float64):
            nearer(known)
        ties = stream.uniforms(candidates.ids)
        return one_by_one(batch_size, ties, distance.copy, lambda at: nearer(phi[at]))

    return Strategy(frozenset({"phi"}), select)


def transductive(ridge: float = 1.0) -> Strategy:
    """Yu et al. 2006, I-optimal: the label that most lowers the pool's mean phi' V^-1 phi.

    Each pair's phi is of unit norm, V_0 = ridge I.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        phi, past = (x.astype(np.float64) for x in (candidates.phi, past_features(candidates)))
        return i_optimal(phi, past, batch_size, ridge, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"phi"}), select)


def i_optimal(
    phi: np.ndarray, past: np.ndarray, batch_size: int, ridge: float, ties: np.ndarray
) -> Selection:
    """Greedily the pairs whose labels most lower the pool's mean phi' V^-1 phi, each phi (n, d) and
    past (k, d) taken at unit norm; V_0 = ridge I.
    """
    phi, past = unit_rows(phi), unit_rows(past)
    kernel = past @ past.T + ridge * np.eye(len(past))
    covariance = phi @ phi.T - phi @ past.T @ np.linalg.solve(kernel, past @ phi.T)
    covariance /= ridge

    def gain() -> np.ndarray:
        return np.square(covariance).sum(1) / (1 + np.diagonal(covariance)) / len(phi)

    def add(at: int) -> None:
        row = covariance[at].copy()
        covariance[:] -= np.outer(row, row) / (1 + row[at])

    return one_by_one(batch_size, ties, gain, add)
