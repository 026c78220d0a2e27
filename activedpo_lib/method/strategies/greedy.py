"""Picks one after the other, and what strategies read of V's past."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from activedpo_lib.method.design import first_of_best
from activedpo_lib.records import Candidates, Selection


def past_features(candidates: Candidates) -> np.ndarray:
    """The labelled pairs' features (k, d); none where V starts anew (D3)."""
    return candidates.phi[:0] if candidates.past_phi is None else candidates.past_phi


def one_by_one(
    batch_size: int,
    ties: np.ndarray,
    values: Callable[[], np.ndarray],
    add: Callable[[int], None],
) -> Selection:
    """Greedy: the pair of the largest value, `add` it, then the values anew; none twice."""
    picked: list[int] = []
    scores = []
    for _ in range(batch_size):
        now = values()
        now[picked] = -np.inf
        at = first_of_best(now, ties)
        picked.append(at)
        scores.append(now[at])
        add(at)
    return Selection(np.array(picked, dtype=np.int64), np.array(scores))
