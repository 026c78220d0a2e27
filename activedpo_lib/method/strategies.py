"""The strategies: each is a criterion and the columns of Candidates that it needs.

A factory binds its own numbers, and returns a Strategy; those that a run can set have the names of
SelectionParams. One of your own is a factory too: see the README's ten lines.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from activedpo_lib.method.design import first_of_best, largest, select_greedy, uncertainty
from activedpo_lib.method.formulas import TINY, preference_probability, unit_rows
from activedpo_lib.records import Candidates, Selection, Strategy
from activedpo_lib.streams import Stream

Factory = Callable[..., Strategy]


def random() -> Strategy:
    """Uniform picks without replacement."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        return largest(stream.uniforms(candidates.ids), batch_size, np.zeros(len(candidates.ids)))

    return Strategy(frozenset(), select)


def activedpo(repeat_prompts: bool = True) -> Strategy:
    """The paper's: greedy argmax of ||grad r(x, y1) - grad r(x, y2)|| in V^-1, V growing with each
    pick (Eq. 3, 4). repeat_prompts: whether a batch may ask about a prompt twice (D13).
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


def apo(apo_ridge: float = 1.0e-5) -> Strategy:
    """Das et al. 2024: the B largest z' V^-1 z at once, z of the frozen pi_SFT's hidden states,
    V = apo_ridge I + sum of z z' over the labelled pairs; pi_SFT's responses.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        scores = uncertainty(candidates.hidden, apo_ridge, candidates.past_hidden)
        return largest(scores, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"hidden"}), select, regenerates=False)


def aplp(shortlist: float = 0.4) -> Strategy:
    """Muldrew et al. 2024: the prompts of highest entropy, then the pairs of largest |r1 - r2|, one
    a prompt. shortlist: the share of prompts that entropy keeps (8B = 400 of 1000).
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        ties, certainty = stream.uniforms(candidates.ids), _certainty(candidates)
        prompts = np.unique(candidates.prompt)
        count = max(round(shortlist * len(prompts)), batch_size)
        prompt_ties = stream.child("prompts").uniforms([candidates.prompt_ids[p] for p in prompts])
        kept = prompts[largest(candidates.entropy[prompts], count, prompt_ties).indices]
        best = [_best_of(np.flatnonzero(candidates.prompt == p), certainty, ties, 1) for p in kept]
        picked = _best_of(np.concatenate(best), certainty, ties, batch_size)
        return Selection(picked, certainty[picked])

    return Strategy(frozenset({"margin", "entropy"}), select)


def _certainty(candidates: Candidates) -> np.ndarray:
    """|r1 - r2|, (n,) float64 nats."""
    return np.abs(candidates.margin.astype(np.float64))


def _best_of(rows: np.ndarray, values: np.ndarray, ties: np.ndarray, count: int) -> np.ndarray:
    return rows[largest(values[rows], count, ties[rows]).indices]


def entropy() -> Strategy:
    """The prompts of highest predictive entropy, one pair of each drawn at random (Muldrew et al.
    2024, the first half).
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        ties = stream.uniforms(candidates.ids)
        order = np.lexsort((ties, candidates.prompt))
        one_each = order[np.unique(candidates.prompt[order], return_index=True)[1]]
        entropies = candidates.entropy[candidates.prompt[one_each]]
        found = largest(entropies, batch_size, ties[one_each])
        return Selection(one_each[found.indices], found.scores)

    return Strategy(frozenset({"entropy"}), select)


def margin() -> Strategy:
    """The smallest |r1 - r2|: the pairs whose label the model is least sure of."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        return largest(-_certainty(candidates), batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"margin"}), select)


def certainty() -> Strategy:
    """The largest |r1 - r2| (Muldrew et al. 2024, the second half)."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        return largest(_certainty(candidates), batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"margin"}), select)


def gradient_norm() -> Strategy:
    """The largest ||phi||: ActiveDPO's criterion without V."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        norms = np.linalg.norm(candidates.phi.astype(np.float64), axis=1)
        return largest(norms, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"phi"}), select)


def frozen_v() -> Strategy:
    """ActiveDPO with V fixed inside the batch: the B most uncertain pairs at once (Fig. 7)."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        scores = uncertainty(candidates.phi, candidates.ridge, candidates.past_phi)
        return largest(scores, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"phi"}), select)


def d_optimal(ridge: float = 1.0, ridge_is: str = "relative") -> Strategy:
    """Greedy log-det on pi_SFT's last layer, each pair weighted by sqrt(mu (1 - mu)),
    mu = sigma(r1 - r2) (Kveton et al. 2025).

    A labelled pair's margin is not measured again: it enters with the weight of mu = 1/2. ridge:
    on V_0's diagonal, absolute or relative to this pool's mean squared weighted feature (D2).
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        mu = preference_probability(candidates.margin, np.zeros(len(candidates.margin)))
        phi = candidates.hidden.astype(np.float64) * np.sqrt(mu * (1 - mu))[:, None]
        unit = max(np.square(phi).sum(1).mean(), TINY) if ridge_is == "relative" else 1.0
        ties = stream.uniforms(candidates.ids)
        return select_greedy(phi, batch_size, ridge * unit, candidates.past_hidden / 2, ties)

    return Strategy(frozenset({"hidden", "margin"}), select)


def k_center() -> Strategy:
    """Core-set (Sener and Savarese 2018): the pair farthest from all labelled and picked ones, by
    its gradient feature.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        phi, distance = candidates.phi.astype(np.float64), np.full(len(candidates.phi), np.inf)

        def nearer(known: np.ndarray) -> None:
            np.minimum(distance, np.linalg.norm(phi - known, axis=1), out=distance)

        for known in _past(candidates).astype(np.float64):
            nearer(known)
        ties = stream.uniforms(candidates.ids)
        return _one_by_one(batch_size, ties, distance.copy, lambda at: nearer(phi[at]))

    return Strategy(frozenset({"phi"}), select)


def transductive(ridge: float = 1.0) -> Strategy:
    """I-optimal: the pair whose label most lowers the pool's mean phi' V^-1 phi; each pair's phi of
    unit norm, V_0 = ridge I.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        phi = unit_rows(candidates.phi.astype(np.float64))
        past = unit_rows(_past(candidates).astype(np.float64))
        kernel = past @ past.T + ridge * np.eye(len(past))
        covariance = phi @ phi.T - phi @ past.T @ np.linalg.solve(kernel, past @ phi.T)
        covariance /= ridge

        def gain() -> np.ndarray:
            return np.square(covariance).sum(1) / (1 + np.diagonal(covariance)) / len(phi)

        def add(at: int) -> None:
            row = covariance[at].copy()
            covariance[:] -= np.outer(row, row) / (1 + row[at])

        return _one_by_one(batch_size, stream.uniforms(candidates.ids), gain, add)

    return Strategy(frozenset({"phi"}), select)


def _past(candidates: Candidates) -> np.ndarray:
    """The labelled pairs' features (k, d); none where V starts anew (D3)."""
    return candidates.phi[:0] if candidates.past_phi is None else candidates.past_phi


def _one_by_one(
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


STRATEGIES: dict[str, Factory] = {
    factory.__name__: factory
    for factory in (
        random, activedpo, apo, aplp, entropy, margin, certainty, gradient_norm, frozen_v,
        d_optimal, k_center, transductive,
    )
}  # fmt: skip


def make_strategy(
    name: str, numbers: Mapping[str, Any], strategies: Mapping[str, Factory] | None = None
) -> Strategy:
    """The Strategy called `name`; its factory is given those of the `numbers` that it binds.

    strategies: {name: factory} of your own. Raises ValueError naming the known ones.
    """
    known = STRATEGIES | dict(strategies or {})
    if name not in known:
        yours = f"pass your own as strategies={{{name!r}: factory}}"
        raise ValueError(f"no strategy {name!r}; known are {sorted(known)}; {yours}")
    bound = inspect.signature(known[name]).parameters
    return known[name](**{key: value for key, value in numbers.items() if key in bound})
