"""Strategies on the Bayesian reward (`posterior.py`): what the labels so far predict of a pair, and
how surely. A batch is picked one by one, the posterior's covariance updated in between; but for the
two of Thompson, whose draws of the reward, one pair of them a batch, vary by themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from activedpo_lib.method.strategies.greedy import one_by_one
from activedpo_lib.method.strategies.posterior import (
    RewardPosterior,
    after_pick,
    expected_weight,
    reward_posterior,
)
from activedpo_lib.records import Candidates, Selection, Strategy
from activedpo_lib.streams import Stream

Criterion = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (mean, variance), (n,) each -> (n,)


def greedy_on(
    posterior: RewardPosterior,
    batch_size: int,
    ties: np.ndarray,
    criterion: Criterion,
    picked: Callable[[int], None] = lambda _: None,
) -> Selection:
    """Greedily the pair of the largest criterion of its gap's mean and variance; after each pick,
    which `picked` is told, the variances are those that its label is expected to leave.
    """
    covariance = posterior.covariance.copy()

    def values() -> np.ndarray:
        return criterion(posterior.mean, np.maximum(np.diagonal(covariance), 0.0))

    def add(at: int) -> None:
        weight = expected_weight(posterior.mean[at], covariance[at, at])
        covariance[:] = after_pick(covariance, at, float(weight))
        picked(at)

    return one_by_one(batch_size, ties, values, add)


def on_the_reward(criterion: Criterion, prior: float) -> Strategy:
    """The strategy that picks greedily by a criterion of the gap's mean and variance."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        posterior = reward_posterior(candidates, prior)
        return greedy_on(posterior, batch_size, stream.uniforms(candidates.ids), criterion)

    return Strategy(frozenset({"phi"}), select)


def predicted_gap(prior: float = 0.1) -> Strategy:
    """This project's own: the largest expected gaps |mu|, whose winners the labels foretell."""
    return on_the_reward(lambda mean, _: np.abs(mean), prior)


def upper_confidence_gap(prior: float = 0.1, confidence: float = 1.0) -> Strategy:
    """ActiveUltraFeedback's DeltaUCB: the largest |mu| + confidence x its standard deviation.

    The gap that could still be, here over all pairs of the pool.
    """
    return on_the_reward(
        lambda mean, variance: np.abs(mean) + confidence * np.sqrt(variance), prior
    )


def novel_gap(prior: float = 0.1) -> Strategy:
    """This project's own: large gaps that do not repeat each other.

    E f^2 = mu^2 + variance, times the share of the variance that earlier picks leave.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        posterior = reward_posterior(candidates, prior)
        first = np.maximum(np.diagonal(posterior.covariance).copy(), np.finfo(float).tiny)
        moment = np.square(posterior.mean) + first

        def left(_: np.ndarray, variance: np.ndarray) -> np.ndarray:
            return moment * variance / first

        return greedy_on(posterior, batch_size, stream.uniforms(candidates.ids), left)

    return Strategy(frozenset({"phi"}), select)


def max_min_lcb(prior: float = 0.1, confidence: float = 1.0) -> Strategy:
    """MaxMinLCB (Pasztor et al. 2024): the response of the best worst case against its worst rival.

    The worst case is the gap's lower bound, mu - confidence x its standard deviation. Each prompt
    has one such pair, found anew after every pick. Of the prompts without a pick, the pair of the
    most uncertain gap is next; once all have one, of all pairs.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        posterior, prompt = reward_posterior(candidates, prior), candidates.prompt
        left = {
            int(prompt[rows[0]]): _gap_table(candidates, rows, posterior.mean)
            for rows in _by_prompt(candidates)
        }

        def uncertain(_: np.ndarray, variance: np.ndarray) -> np.ndarray:
            deviation = np.sqrt(variance)
            if not left:
                return deviation
            duels = [_duel(*table, confidence * deviation) for table in left.values()]
            return np.where(np.isin(np.arange(len(prompt)), duels), deviation, -np.inf)

        def picked(at: int) -> None:
            left.pop(int(prompt[at]), None)

        ties = stream.uniforms(candidates.ids)
        return greedy_on(posterior, batch_size, ties, uncertain, picked)

    return Strategy(frozenset({"phi"}), select)


def _duel(gaps: np.ndarray, where: np.ndarray, spread: np.ndarray) -> int:
    """The row of a prompt's pair: the response whose lowest gap is the largest, and that gap's
    rival. gaps, where: of `_gap_table`; spread (n,): how far below its mean a gap may be.
    """
    known = where >= 0
    lowest = np.where(known, gaps - spread[where], np.inf)
    best = np.argmax(np.where(known.any(1), lowest.min(1), -np.inf))
    return int(where[best, np.argmin(lowest[best])])


def double_thompson(prior: float = 0.1) -> Strategy:
    """Double Thompson sampling (Wu and Liu 2016): the best responses by two draws of the reward.

    Of prompts drawn at random, the best by one draw against the best other one by a second draw.
    """
    return _thompson(prior, against=np.argmax)


def reversed_thompson(prior: float = 0.1) -> Strategy:
    """ActiveUltraFeedback's DRTS: the best response by one draw against the worst by another.

    Double reversed Thompson sampling: a draw is of the reward, the prompts are drawn at random.
    """
    return _thompson(prior, against=np.argmin)


def _thompson(prior: float, against: Callable) -> Strategy:
    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        posterior = reward_posterior(candidates, prior)
        draws = posterior.draws(candidates.ids, 2, stream=stream.child("draws"))
        rows = []
        for of_prompt in _by_prompt(candidates):
            tables = [_gap_table(candidates, of_prompt, draw) for draw in draws]
            where = tables[0][1]
            values = [gaps.sum(1) for gaps, _ in tables]
            known = (where >= 0).any(1)
            best = int(np.argmax(np.where(known, values[0], -np.inf)))
            fence = -np.inf if against is np.argmax else np.inf
            other = int(against(np.where(where[best] >= 0, values[1], fence)))
            rows.append(where[best, other])
        order = stream.child("prompts").uniforms([candidates.ids[row] for row in rows])
        picked = np.array(rows)[np.argsort(order, kind="stable")[:batch_size]]
        return _filled(picked, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"phi"}), select)


def _by_prompt(candidates: Candidates) -> list[np.ndarray]:
    """The rows of each prompt's pairs, in the order of the prompts' names."""
    prompts = sorted(set(candidates.prompt), key=lambda at: candidates.prompt_ids[at])
    return [np.flatnonzero(candidates.prompt == at) for at in prompts]


def _gap_table(
    candidates: Candidates, rows: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(gaps (m, m) of a prompt's responses, antisymmetric; the pool's row of each, -1 for none)."""
    places = [candidates.ids[row][1:] for row in rows]
    size = 1 + max(max(place) for place in places)
    gaps, where = np.zeros((size, size)), np.full((size, size), -1)
    for row, (a, b) in zip(rows, places, strict=True):
        gaps[a, b], gaps[b, a] = values[row], -values[row]
        where[a, b] = where[b, a] = row
    return gaps, where


def _filled(rows: np.ndarray, batch_size: int, ties: np.ndarray) -> Selection:
    """The picks, one a prompt, and where a batch asks for more than there are prompts, others at
    random, by their `ties` (n,).
    """
    order = ties.copy()
    order[rows] = -1.0
    others = np.argsort(order, kind="stable")[len(rows) : batch_size]
    picked = np.concatenate([rows, others]).astype(np.int64)
    return Selection(picked, np.zeros(len(picked)))
