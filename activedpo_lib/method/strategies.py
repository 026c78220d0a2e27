"""The strategies: each is a criterion and the columns of Candidates that it needs.

A strategy of your own is a function (candidates, batch_size, stream) -> Selection; see the README's
ten lines.
"""

import numpy as np

from activedpo_lib.method.design import first_of_best, largest, select_greedy, uncertainty
from activedpo_lib.method.formulas import TINY, preference_probability, unit_rows
from activedpo_lib.records import Selection, Strategy
from activedpo_lib.runtime import device
from activedpo_lib.shards import shards


def random(_settings=None):
    """Uniform picks without replacement."""

    def select(candidates, batch_size, stream):
        return largest(stream.uniforms(candidates.ids), batch_size, np.zeros(len(candidates.ids)))

    return Strategy(frozenset(), select)


def activedpo(settings):
    """The paper's: greedy argmax of ||grad r(x, y1) - grad r(x, y2)|| in V^-1, V growing with each
    pick (Eq. 3, 4).
    """

    def select(candidates, batch_size, stream):
        return select_greedy(
            candidates.phi,
            batch_size,
            candidates.ridge,
            candidates.past_phi,
            ties=stream.uniforms(candidates.ids)[candidates.rows],
            prompts=None if settings.repeat_prompts else candidates.prompt[candidates.rows],  # D13
            device=device(),
            shards=shards(),
        )

    return Strategy(frozenset({"phi"}), select, shares=True)


def apo(settings):
    """Das et al. 2024: the B largest z' V^-1 z at once, z of the frozen pi_SFT's hidden states;
    pi_SFT's responses.
    """

    def select(candidates, batch_size, stream):
        scores = uncertainty(candidates.hidden, settings.apo_ridge, candidates.past_hidden)
        return largest(scores, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"hidden"}), select, regenerates=False)


def aplp(settings):
    """Muldrew et al. 2024: the prompts of highest entropy, then the pairs of largest |r1 - r2|, one
    a prompt.
    """

    def select(candidates, batch_size, stream):
        ties = stream.uniforms(candidates.ids)
        certainty = np.abs(candidates.margin.astype(np.float64))

        def best_of(rows, count):
            return rows[largest(certainty[rows], count, ties[rows]).indices]

        prompts = np.unique(candidates.prompt)
        prompt_ties = stream.child("prompts").uniforms([candidates.prompt_ids[p] for p in prompts])
        kept = prompts[
            largest(
                candidates.entropy[prompts],
                shortlist_size(settings, prompts, batch_size),
                prompt_ties,
            ).indices
        ]
        rows = np.array(
            [best_of(np.flatnonzero(candidates.prompt == p), 1)[0] for p in kept], dtype=np.int64
        )
        picked = best_of(rows, batch_size)
        return Selection(picked, certainty[picked])

    return Strategy(frozenset({"margin", "entropy"}), select)


def shortlist_size(settings, prompts, batch_size):
    """How many prompts the entropy keeps: the share `shortlist` of them, and at least the batch (8B
    = 400 of 1000).
    """
    return max(round(settings.shortlist * len(prompts)), batch_size)


def entropy(_settings):
    """The prompts of highest predictive entropy, one pair of each drawn at random (Muldrew et al.
    2024, the first half).
    """

    def select(candidates, batch_size, stream):
        ties = stream.uniforms(candidates.ids)
        order = np.lexsort((ties, candidates.prompt))
        one_each = order[np.unique(candidates.prompt[order], return_index=True)[1]]
        found = largest(candidates.entropy[candidates.prompt[one_each]], batch_size, ties[one_each])
        return Selection(one_each[found.indices], found.scores)

    return Strategy(frozenset({"entropy"}), select)


def margin(_settings):
    """The smallest |r1 - r2|: the pairs whose label the model is least sure of."""

    def select(candidates, batch_size, stream):
        return largest(
            -np.abs(candidates.margin.astype(np.float64)),
            batch_size,
            stream.uniforms(candidates.ids),
        )

    return Strategy(frozenset({"margin"}), select)


def certainty(_settings):
    """The largest |r1 - r2| (Muldrew et al. 2024, the second half)."""

    def select(candidates, batch_size, stream):
        return largest(
            np.abs(candidates.margin.astype(np.float64)),
            batch_size,
            stream.uniforms(candidates.ids),
        )

    return Strategy(frozenset({"margin"}), select)


def gradient_norm(_settings):
    """The largest ||phi||: ActiveDPO's criterion without V."""

    def select(candidates, batch_size, stream):
        norms = np.linalg.norm(candidates.phi.astype(np.float64), axis=1)
        return largest(norms, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"phi"}), select)


def frozen_v(_settings):
    """ActiveDPO with V fixed inside the batch: the B most uncertain pairs at once (Fig. 7)."""

    def select(candidates, batch_size, stream):
        scores = uncertainty(candidates.phi, candidates.ridge, candidates.past_phi)
        return largest(scores, batch_size, stream.uniforms(candidates.ids))

    return Strategy(frozenset({"phi"}), select)


def d_optimal(settings):
    """Greedy log-det on pi_SFT's last layer, each pair weighted by sqrt(mu (1 - mu)), mu = sigma(r1
    - r2) (Kveton et al. 2025).

    A labelled pair's margin is not measured again: it enters with the weight of mu = 1/2.
    """

    def select(candidates, batch_size, stream):
        mu = preference_probability(candidates.margin, np.zeros(len(candidates.margin)))
        phi = candidates.hidden.astype(np.float64) * np.sqrt(mu * (1 - mu))[:, None]
        ridge = settings.ridge * max(np.square(phi).sum(1).mean(), TINY)
        return select_greedy(
            phi, batch_size, ridge, candidates.past_hidden / 2, ties=stream.uniforms(candidates.ids)
        )

    return Strategy(frozenset({"hidden", "margin"}), select)


def k_center(_settings):
    """Core-set (Sener and Savarese 2018): the pair farthest from all labelled and picked ones, by
    its gradient feature.
    """

    def select(candidates, batch_size, stream):
        phi, ties = candidates.phi.astype(np.float64), stream.uniforms(candidates.ids)
        past = (
            np.zeros((0, phi.shape[1]))
            if candidates.past_phi is None
            else candidates.past_phi.astype(np.float64)
        )
        distance = np.full(len(phi), np.inf)
        for known in past:
            distance = np.minimum(distance, np.linalg.norm(phi - known, axis=1))
        picked, scores = [], []
        for _ in range(batch_size):
            distance[picked] = -1.0
            at = first_of_best(distance, ties)
            picked.append(at)
            scores.append(distance[at])
            distance = np.minimum(distance, np.linalg.norm(phi - phi[at], axis=1))
        return Selection(np.array(picked, dtype=np.int64), np.array(scores))

    return Strategy(frozenset({"phi"}), select)


def transductive(settings):
    """I-optimal: the pair whose label most lowers the pool's mean phi' V^-1 phi; each pair's phi of
    unit norm.
    """

    def select(candidates, batch_size, stream):
        phi, ties = unit_rows(candidates.phi.astype(np.float64)), stream.uniforms(candidates.ids)
        covariance = phi @ phi.T / settings.ridge
        if candidates.past_phi is not None and len(candidates.past_phi):
            past = unit_rows(candidates.past_phi.astype(np.float64))
            kernel = past @ past.T + settings.ridge * np.eye(len(past))
            covariance -= phi @ past.T @ np.linalg.solve(kernel, past @ phi.T) / settings.ridge
        picked, scores = [], []
        for _ in range(batch_size):
            gain = np.square(covariance).sum(1) / (1 + np.diagonal(covariance)) / len(phi)
            gain[picked] = -1.0
            at = first_of_best(gain, ties)
            picked.append(at)
            scores.append(gain[at])
            covariance -= np.outer(covariance[at], covariance[at]) / (1 + covariance[at, at])
        return Selection(np.array(picked, dtype=np.int64), np.array(scores))

    return Strategy(frozenset({"phi"}), select)


STRATEGIES = {
    "random": random,
    "activedpo": activedpo,
    "apo": apo,
    "aplp": aplp,
    "entropy": entropy,
    "margin": margin,
    "certainty": certainty,
    "gradient_norm": gradient_norm,
    "frozen_v": frozen_v,
    "d_optimal": d_optimal,
    "k_center": k_center,
    "transductive": transductive,
}


def make_strategy(name, settings, strategies=None):
    """The strategy called `name`, its hyper-parameters bound. Raises ValueError naming the known
    ones.
    """
    known = STRATEGIES | (strategies or {})
    if name not in known:
        raise ValueError(
            f"no strategy {name!r}; known are {sorted(known)}; pass your own as "
            f"strategies={{{name!r}: factory}}"
        )
    return known[name](settings)
