"""Predicted improvement and upper-confidence gap without one of their parts: which earns the gain?
No criteria to be used; see notebook 27. Predicted gap (`reward.py`) is one more of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from activedpo_lib.method.strategies.classic import random
from activedpo_lib.method.strategies.improvement import (
    improvement,
    once_labelled,
    predicted_improvement,
)
from activedpo_lib.method.strategies.posterior import RewardPosterior
from activedpo_lib.method.strategies.reward import on_the_reward
from activedpo_lib.records import Candidates, Selection, Strategy
from activedpo_lib.streams import Stream


def uncertainty_alone(prior: float = 0.1) -> Strategy:
    """This project's ablation of upper-confidence gap: the gap's deviation without |mu|."""
    return on_the_reward(lambda _, variance: np.sqrt(variance), prior)


def improvement_own_gaps(prior: float = 0.1, ridge: float = 1.0) -> Strategy:
    """This project's ablation: the B largest |mu_i|, without the sum over the pool."""
    return once_labelled(lambda known, *_, **__: np.abs(known.mean), prior, ridge)


def improvement_random_signs(prior: float = 0.1, ridge: float = 1.0) -> Strategy:
    """This project's ablation: g^ = sum_i s_i |mu_i| phi_i, each sign s_i by a coin of its own."""

    def scores(known: RewardPosterior, ids: Sequence[Any], *, stream: Stream) -> np.ndarray:
        heads = stream.child("signs").uniforms(ids) < 0.5
        return improvement(known.phi, np.where(heads, 1.0, -1.0) * np.abs(known.mean))

    return once_labelled(scores, prior, ridge)


def improvement_last_labels(prior: float = 0.1, ridge: float = 1.0) -> Strategy:
    """This project's ablation: the reward is fitted on the last batch's labels alone."""
    whole = predicted_improvement(prior, ridge)

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        past = candidates.past_phi  # in the order in which the pairs were labelled
        last = None if past is None else past[-batch_size:]
        return whole.select(candidates._replace(past_phi=last), batch_size, stream=stream)

    return Strategy(frozenset({"phi"}), select)


def improvement_random_start(prior: float = 0.1, ridge: float = 1.0) -> Strategy:
    """This project's ablation: the first batch is Random's, not transductive."""
    first, later = random(), predicted_improvement(prior, ridge)

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        labelled = candidates.past_phi is not None and len(candidates.past_phi)
        return (later if labelled else first).select(candidates, batch_size, stream=stream)

    return Strategy(frozenset({"phi"}), select)
