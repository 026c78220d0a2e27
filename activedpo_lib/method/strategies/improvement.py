"""Strategies that label where the policy would improve: this project's own.

A label moves the policy along its pair's phi. g^ = sum_i mu_i phi_i over the pool is the direction
that raises the reward that the labels so far predict (`posterior.py`), so |phi_i . g^| is how far a
label of pair i would move the policy that way, whoever wins.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from activedpo_lib.method.design import largest
from activedpo_lib.method.formulas import unit_rows
from activedpo_lib.method.strategies.gradient import i_optimal
from activedpo_lib.method.strategies.posterior import reward_posterior
from activedpo_lib.records import Candidates, Selection, Strategy
from activedpo_lib.streams import Stream

Scores = Callable[..., np.ndarray]


def improvement(phi: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """|phi_i . g^| of every pair, (n,): g^ = sum_i gaps_i phi_i, phi (n, d), gaps (n,)."""
    return np.abs(phi @ (gaps @ phi))


def once_labelled(scores: Scores, prior: float, ridge: float) -> Strategy:
    """The strategy that picks the B largest scores at once; before any label, transductive.

    scores: (the RewardPosterior, the pairs' ids, stream=the Stream) -> (n,).
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        known, ties = reward_posterior(candidates, prior), stream.uniforms(candidates.ids)
        if not len(known.past):
            return i_optimal(known.phi, known.past, batch_size, ridge, ties)
        return largest(scores(known, candidates.ids, stream=stream), batch_size, ties)

    return Strategy(frozenset({"phi"}), select)


def predicted_improvement(prior: float = 0.1, ridge: float = 1.0) -> Strategy:
    """This project's own: the B largest |phi_i . g^|; before any label, transductive."""
    return once_labelled(lambda known, *_, **__: improvement(known.phi, known.mean), prior, ridge)


def improve_and_explore(prior: float = 0.1, ridge: float = 1.0) -> Strategy:
    """This project's own: half a batch by predicted improvement, half transductive on the rest.

    The rest is what g^ does not explain: phi without its part along g^.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        known, ties = reward_posterior(candidates, prior), stream.uniforms(candidates.ids)
        if not len(known.past):
            return i_optimal(known.phi, known.past, batch_size, ridge, ties)
        first = largest(improvement(known.phi, known.mean), batch_size // 2, ties)
        along = unit_rows((known.mean @ known.phi)[None])[0]
        phi, past = (x - np.outer(x @ along, along) for x in (known.phi, known.past))
        left = np.setdiff1d(np.arange(len(phi)), first.indices)
        seen = np.concatenate([past, phi[first.indices]])
        rest = i_optimal(phi[left], seen, batch_size - len(first.indices), ridge, ties[left])
        return Selection(
            np.concatenate([first.indices, left[rest.indices]]),
            np.concatenate([first.scores, rest.scores]),
        )

    return Strategy(frozenset({"phi"}), select)


def improvement_thompson(prior: float = 0.1) -> Strategy:
    """This project's own: each pick by a g^ of its own, its gaps drawn from the posterior."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        known, ties = reward_posterior(candidates, prior), stream.uniforms(candidates.ids)
        picked: list[int] = []
        scores: list[float] = []
        for gaps in known.draws(candidates.ids, batch_size, stream=stream.child("draws")):
            values = improvement(known.phi, gaps)
            values[picked] = -np.inf
            best = largest(values, 1, ties)
            picked.append(int(best.indices[0]))
            scores.append(float(best.scores[0]))
        return Selection(np.array(picked, dtype=np.int64), np.array(scores))

    return Strategy(frozenset({"phi"}), select)
