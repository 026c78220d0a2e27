"""Random, the paper's baselines, and other criteria on margins, entropies and hidden states."""

from __future__ import annotations

import numpy as np

from activedpo_lib.method.design import largest, select_greedy, uncertainty
from activedpo_lib.method.formulas import TINY, preference_probability
from activedpo_lib.records import Candidates, Selection, Strategy
from activedpo_lib.streams import Stream


def random() -> Strategy:
    """Uniform picks without replacement."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        return largest(stream.uniforms(candidates.ids), batch_size, np.zeros(len(candidates.ids)))

    return Strategy(frozenset(), select)


def apo(apo_ridge: float = 1.0e-5) -> Strategy:
    """Das et al. 2024: the B largest z' V^-1 z at once, z of the frozen pi_SFT's hidden states.

    V = apo_ridge I + sum of z z' over the labelled pairs; pi_SFT's responses.
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        scores = uncertainty(candidates.hidden, apo_ridge, candidates.past_hidden)
        return largest(scores, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"hidden"}), select, regenerates=False)


def aplp(shortlist: float = 0.4) -> Strategy:
    """Muldrew et al. 2024: the prompts of highest entropy, then the pairs of largest |r1 - r2|.

    One pair a prompt. shortlist: the share of prompts that entropy keeps (8B = 400 of 1000).
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
    """Muldrew et al. 2024, the first half: a pair at random of each prompt of highest entropy."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        ties = stream.uniforms(candidates.ids)
        order = np.lexsort((ties, candidates.prompt))
        one_each = order[np.unique(candidates.prompt[order], return_index=True)[1]]
        entropies = candidates.entropy[candidates.prompt[one_each]]
        found = largest(entropies, batch_size, ties[one_each])
        return Selection(one_each[found.indices], found.scores)

    return Strategy(frozenset({"entropy"}), select)


def margin() -> Strategy:
    """Uncertainty sampling (Lewis and Gale 1994): the smallest |r1 - r2|, the least sure labels."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        return largest(-_certainty(candidates), batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"margin"}), select)


def certainty() -> Strategy:
    """Muldrew et al. 2024, the second half: the largest |r1 - r2|."""

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        return largest(_certainty(candidates), batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"margin"}), select)


def d_optimal(ridge: float = 1.0, ridge_is: str = "relative") -> Strategy:
    """Kveton et al. 2025: greedy log-det on pi_SFT's last layer, weighted by the label's spread.

    A pair's weight is sqrt(mu (1 - mu)), mu = sigma(r1 - r2). A labelled pair's margin is not
    measured again: it enters with the weight of mu = 1/2. ridge: on V_0's diagonal, absolute or
    relative to this pool's mean squared weighted feature (D2).
    """

    def select(candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection:
        mu = preference_probability(candidates.margin, np.zeros(len(candidates.margin)))
        phi = candidates.hidden.astype(np.float64) * np.sqrt(mu * (1 - mu))[:, None]
        unit = max(np.square(phi).sum(1).mean(), TINY) if ridge_is == "relative" else 1.0
        ties = stream.uniforms(candidates.ids)
        return select_greedy(phi, batch_size, ridge * unit, candidates.past_hidden / 2, ties)

    return Strategy(frozenset({"hidden", "margin"}), select)
