"""Where the processes that share a run meet: the candidates joined, the ridge's mean with them, and
the texts and features of what was picked. The rest of a pool stays where it was written, which no
memory and no network has to hold twice. Besides, greedy selection meets itself
(`method/design.py`), and `steps.py` and `rounds.py` gather the evaluation's responses, the mean
loss and a replay's rewards, and wait for a saved round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from activedpo_lib.method.candidates import MEASURED
from activedpo_lib.records import Candidates, Pair, Past, Pool, Prompt, Response, Tokens
from activedpo_lib.shards import SingleProcess


def share_of(past: Past, processes: SingleProcess) -> Past:
    """This process's share of what V remembers, to be measured again."""
    own = processes.share(len(past.labelled))
    phi = None if past.phi is None else past.phi[own]
    return Past(past.labelled[own], phi, past.ridge)


def joined_pool(pool: Pool, prompts: Sequence[Prompt], processes: SingleProcess) -> Pool:
    """The whole Pool from every process's part, in the order of the ranks; prompts: all of them."""
    if processes.count == 1:
        return pool
    # Everyone knows the prompts; their hidden facts do not travel.
    parts: list[Pool] = processes.collect([dataclasses.replace(pool, prompts=())])
    starts = np.cumsum([0, *(len(part.prompt_tokens) for part in parts)])
    responses = np.cumsum([0, *(len(part.responses) for part in parts)])
    return Pool(
        tuple(prompts),
        tuple(tokens for part in parts for tokens in part.prompt_tokens),
        tuple(response for part in parts for response in part.responses),
        _moved([part.prompt_index for part in parts], starts),
        _moved([part.pairs for part in parts], responses),
    )


def joined_candidates(candidates: Candidates, processes: SingleProcess) -> Candidates:
    """The whole pool's Candidates from every process's part; gradient features stay where they are
    (`rows`), and the ridge of a first pool is the mean over all pairs (D2).
    """
    if processes.count == 1:
        return candidates
    parts: list[Candidates] = processes.collect([candidates._replace(phi=None)])
    starts = np.cumsum([0, *(len(part.ids) for part in parts)])
    prompts = np.cumsum([0, *(len(part.prompt_ids) for part in parts)])
    whole = candidates._replace(
        ids=tuple(name for part in parts for name in part.ids),
        prompt=_moved([part.prompt for part in parts], prompts),
        prompt_ids=tuple(name for part in parts for name in part.prompt_ids),
        own={name: np.concatenate([part.own[name] for part in parts]) for name in candidates.own},
        rows=slice(int(starts[processes.rank]), int(starts[processes.rank + 1])),
        processes=processes,
    )
    if candidates.ridge is not None:
        whole = whole._replace(ridge=_mean([part.ridge for part in parts], np.diff(starts)))
    columns = sorted(MEASURED - {"phi", "ridge"})
    measured = [name for name in columns if getattr(candidates, name) is not None]
    return whole._replace(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in measured}
    )


def _mean(ridges: list[float], pairs: np.ndarray) -> float:
    """The ridge of the whole pool; one that all know already stays to the last digit."""
    return ridges[0] if len(set(ridges)) == 1 else float(np.average(ridges, weights=pairs))


def _moved(parts: Sequence[np.ndarray], starts: np.ndarray) -> np.ndarray:
    """Indices into each part as indices into the whole."""
    return np.concatenate([part + start for part, start in zip(parts, starts, strict=False)])


def pairs_of(
    pool: Pool, candidates: Candidates, indices: np.ndarray, prompts: Sequence[Prompt]
) -> list[Pair]:
    """These pairs, whichever process has them. pool: this one's part of the candidates' pool;
    prompts: all of the round's; everyone knows them, and their hidden facts do not travel.
    """

    def told(row: int) -> tuple[str, Tokens, Response, Response]:
        pair = pool.pair(row)
        return pair.prompt.id, pair.prompt_tokens, pair.first, pair.second

    known = {prompt.id: prompt for prompt in prompts}
    return [Pair(known[name], *rest) for name, *rest in _of_all(candidates, indices, told)]


def phi_of(candidates: Candidates, indices: np.ndarray) -> np.ndarray:
    """The features of these pairs, (b, d), whichever process has them."""
    return np.stack(_of_all(candidates, indices, lambda row: candidates.phi[row]))


def _of_all(candidates: Candidates, indices: np.ndarray, value: Callable[[int], Any]) -> list[Any]:
    """Of each of these rows, what value(row within its process's part) says there."""
    start, stop, _ = candidates.rows.indices(len(candidates.ids))
    own = [(int(at), value(int(at) - start)) for at in indices if start <= at < stop]
    everyones = dict(candidates.processes.collect(own))
    return [everyones[int(at)] for at in indices]


def next_past(
    past: Past, labelled: tuple, candidates: Candidates, indices: np.ndarray, kept: Sequence[Pair]
) -> Past:
    """What V remembers after the picks `indices` were labelled. kept: the picked Pairs where their
    features are kept too (D3), as chosen minus rejected: V does not care, the Bayesian reward does.
    """
    if candidates.phi is None:
        return past._replace(labelled=past.labelled + labelled)
    phi = past.phi
    if kept:
        first = [new.chosen == pair.first for new, pair in zip(labelled, kept, strict=True)]
        new = phi_of(candidates, indices) * np.where(first, 1, -1)[:, None].astype(np.float32)
        phi = new if phi is None else np.concatenate([phi, new])
    return Past(past.labelled + labelled, phi, float(candidates.ridge))


def check_pairs(pool: Pool, prompts: Sequence[Prompt], processes: SingleProcess) -> None:
    """Raise ValueError where no process's part of the pool of all `prompts` has a pair to label."""
    if not sum(processes.collect([len(pool.pairs)])):
        raise ValueError(
            f"the pool of {len(prompts)} prompts has no pair to label: the policy writes one "
            "response to each prompt, or all were labelled; lower dpo.learning_rate, raise "
            "generation.temperature, or add prompts"
        )
