"""The strategies (floor 4): each is a criterion and the columns of Candidates that it needs.

A strategy of your own is a function (candidates, batch_size, stream) -> Selection; see the README's ten lines.
"""

import numpy as np

from activedpo_lib.method.criteria import MORE
from activedpo_lib.method.design import largest, select_greedy, uncertainty
from activedpo_lib.records import Selection, Strategy
from activedpo_lib.runtime import device
from activedpo_lib.shards import shards


def random(_settings=None):
    """Uniform picks without replacement."""

    def select(candidates, batch_size, stream):
        return largest(stream.keys(candidates.ids), batch_size, np.zeros(len(candidates.ids)))

    return Strategy(frozenset(), select)


def activedpo(settings):
    """The paper's: greedy argmax of ||grad r(x, y1) - grad r(x, y2)|| in V^-1, V growing with each pick (Eq. 3, 4)."""

    def select(candidates, batch_size, stream):
        return select_greedy(
            candidates.phi,
            batch_size,
            candidates.ridge,
            candidates.past_phi,
            ties=stream.keys(candidates.ids)[candidates.rows],
            groups=None if settings.repeat_prompts else candidates.prompt[candidates.rows],  # D13
            device=device(),
            shards=shards(),
        )

    return Strategy(frozenset({"phi"}), select, shares=True)


def apo(settings):
    """Das et al. 2024: the B largest z' V^-1 z at once, z of the frozen pi_SFT's hidden states; pi_SFT's responses."""

    def select(candidates, batch_size, stream):
        scores = uncertainty(candidates.hidden, settings.apo_ridge, candidates.past_hidden)
        return largest(scores, batch_size, stream.keys(candidates.ids))

    return Strategy(frozenset({"hidden"}), select, regenerates=False)


def aplp(settings):
    """Muldrew et al. 2024: the prompts of highest entropy, then the pairs of largest |r1 - r2|, one a prompt."""

    def select(candidates, batch_size, stream):
        ties = stream.keys(candidates.ids)
        certainty = np.abs(candidates.margin.astype(np.float64))

        def best_of(rows, count):
            return rows[largest(certainty[rows], count, ties[rows]).indices]

        prompts = np.unique(candidates.prompt)
        prompt_ties = stream.child("prompts").keys([candidates.prompt_ids[p] for p in prompts])
        kept = prompts[
            largest(candidates.entropy[prompts], shortlist_size(settings, prompts, batch_size), prompt_ties).indices
        ]
        rows = np.array([best_of(np.flatnonzero(candidates.prompt == p), 1)[0] for p in kept], dtype=np.int64)
        picked = best_of(rows, batch_size)
        return Selection(picked, certainty[picked])

    return Strategy(frozenset({"margin", "entropy"}), select)


def shortlist_size(settings, prompts, batch_size):
    """How many prompts the entropy keeps: the share `shortlist` of them, and at least the batch (8B = 400 of 1000)."""
    return max(round(settings.shortlist * len(prompts)), batch_size)


STRATEGIES = {"random": random, "activedpo": activedpo, "apo": apo, "aplp": aplp, **MORE}


def make_strategy(name, settings, strategies=None):
    """The strategy called `name`, its hyper-parameters bound. Raises ValueError naming the known ones."""
    known = STRATEGIES | (strategies or {})
    if name not in known:
        raise ValueError(
            f"no strategy {name!r}; known are {sorted(known)}; pass your own as strategies={{{name!r}: factory}}"
        )
    return known[name](settings)
