"""What a strategy sees of a pool: only the columns that it needs are measured."""

import contextlib

import numpy as np
import torch

from activedpo_lib.method.formulas import TINY, implicit_reward, unit_rows
from activedpo_lib.method.generation import generate, sampling, without_labelled
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import response_logps
from activedpo_lib.method.measures import (
    last_hidden_states,
    predictive_entropy,
    reference,
    reference_logps,
)
from activedpo_lib.method.memmap import MemmapRows
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Candidates
from activedpo_lib.shards import shards

BLOCK = 1024  # pairs at a time, so that features larger than memory stay on disk


def make_pool(
    policy, tokenizer, prompts, stream, settings, max_new_tokens, labelled=(), from_reference=False
):
    """The round's D_t (Alg. 1 l. 3); from pi_SFT where `from_reference` (APO). Labelled pairs are
    left out.

    Raises ValueError where no pair is left.
    """
    with reference(policy) if from_reference else contextlib.nullcontext():
        pool = generate(
            policy,
            tokenizer,
            prompts,
            stream,
            settings.responses,
            max_new_tokens,
            **sampling(settings),
        )
    return without_labelled(pool, labelled)


def measure(
    policy,
    tokenizer,
    pool,
    needs,
    labelled,
    settings,
    stream,
    beta=1.0,
    kept_phi=None,
    ridge=None,
    entropy=None,
    folder=None,
    log=print,
):
    """The pool as Candidates with the columns in `needs`.

    labelled: all LabelledPairs so far; settings: SelectionParams; stream: the seed's "projection"
    stream, one for all rounds (D7); kept_phi: (k, d) the labelled pairs' features as they were
    picked (D3 "keep"); ridge: V_0's absolute number where known, else it is set from this pool, the
    first (D2); entropy: arguments of `generate` for H's extra samples (stream, max_new_tokens,
    batch_sequences); folder: for features larger than `settings.memory_mib`, which a stopped pass
    resumes; log: called with lines of progress.
    """
    prompt_index = pool.prompt_index[pool.pairs[:, 0]]
    columns = {
        "prompt": prompt_index,
        "prompt_ids": tuple(p.id for p in pool.prompts),
        "ids": pair_ids(pool),
    }
    if "phi" in needs:
        columns |= gradient_columns(
            policy, pool, labelled, settings, stream, kept_phi, ridge, folder, log
        )
    if needs & {"margin", "entropy"}:
        logps = response_logps(policy, *sequences(pool), settings.token_budget)
    if "margin" in needs:
        rewards = implicit_reward(
            logps, reference_logps(policy, *sequences(pool), settings.token_budget), beta
        )
        columns["margin"] = rewards[pool.pairs[:, 0]] - rewards[pool.pairs[:, 1]]
    if "entropy" in needs:
        columns["entropy"] = entropies(policy, tokenizer, pool, logps, settings, entropy)
    if "hidden" in needs:
        columns |= hidden_columns(policy, pool, labelled, settings)
    return Candidates(**columns)


def pair_ids(pool):
    """A name for each pair, (n,), that depends on its prompt and its place among the prompt's
    responses alone.
    """
    each = len(pool.responses) // max(1, len(pool.prompts))
    return tuple(
        (pool.prompts[pool.prompt_index[a]].id, int(a % each), int(b % each)) for a, b in pool.pairs
    )


def sequences(pool):
    """(prompts, responses) as token ids, one row a response."""
    return [pool.prompt_tokens[at] for at in pool.prompt_index], [
        response.tokens for response in pool.responses
    ]


def labelled_sequences(labelled):
    """(prompts, responses) as token ids: all chosen responses, then all rejected ones."""
    return [p.prompt_tokens for p in labelled] * 2, [p.chosen.tokens for p in labelled] + [
        p.rejected.tokens for p in labelled
    ]


def pair_features(features, pairs, normalise, normalise_when, folder=None, limit_mib=64):
    """phi(x, y1, y2), (n, d) float32, from the responses' Features: grad r(x, y1) - grad r(x, y2),
    D4 and D8.

    In a file of `folder` where there is one and phi is larger than `limit_mib` MiB; a block of
    pairs at a time.
    """
    found = MemmapRows(len(pairs), features.phi.shape[1], "cpu", folder, "pairs", "phi", limit_mib)
    for start in range(0, len(pairs), BLOCK):
        block = pairs[start : start + BLOCK]
        first, second = (_normalised(features, at, normalise, normalise_when) for at in block.T)
        difference = first - second
        if normalise == "pair":
            difference = unit_rows(difference)
        found.put(slice(start, start + len(block)), torch.from_numpy(difference))
    return found.numpy()


def _normalised(features, at, normalise, normalise_when):
    phi = features.phi[at]
    if normalise == "token":
        return phi / features.tokens[at, None]
    if normalise != "response":
        return phi
    return (
        unit_rows(phi)
        if normalise_when == "after"
        else phi / np.maximum(features.norm[at], TINY)[:, None]
    )


def gradient_columns(
    policy, pool, labelled, settings, stream, kept_phi, ridge, folder=None, log=print
):
    """phi, past_phi and ridge: one pass over the pool's responses and, re-embedded, the labelled
    ones (D3).

    Where several processes share the work, phi is of `rows` alone: the pairs of this process's
    share of the prompts.
    """
    group, reembed = (
        shards(),
        settings.past == "reembed",
    )  # D3; kept_phi is None where V starts anew
    own = group.share(len(pool.prompts))
    kept = np.flatnonzero((pool.prompt_index >= own.start) & (pool.prompt_index < own.stop))
    rows = slice(
        *np.searchsorted(pool.prompt_index[pool.pairs[:, 0]], [own.start, own.stop]).tolist()
    )
    prompts, responses = ([part[at] for at in kept] for part in sequences(pool))
    past = labelled[group.share(len(labelled))] if reembed else ()
    count, old = len(responses), len(past)
    if reembed:
        past_prompts, past_responses = labelled_sequences(past)
        prompts, responses = prompts + past_prompts, responses + past_responses
    projection = make_projection(
        settings.projection, settings.dimensions, stream.seed, gradient_shapes(policy)
    )
    large = {"folder": folder, "limit_mib": settings.memory_mib}
    features = response_features(
        policy, prompts, responses, projection, settings.token_budget, **large, log=log
    )
    past_pairs = count + np.stack([np.arange(old), old + np.arange(old)], 1)
    how = (settings.normalise, settings.normalise_when)
    phi = pair_features(features, pool.pairs[rows] - kept[0], *how, **large)
    past_phi = (
        np.concatenate(group.collect([pair_features(features, past_pairs, *how)]))
        if reembed
        else kept_phi
    )
    if ridge is None:
        ridge = settings.ridge * (
            mean_square_norm(phi, group) if settings.ridge_is == "relative" else 1.0
        )
    return {"phi": phi, "past_phi": past_phi, "ridge": float(ridge), "rows": rows}


def mean_square_norm(phi, group):
    """The mean of ||phi||^2 over all processes' pairs, what a relative ridge is relative to
    (D2).
    """
    blocks = (phi[start : start + BLOCK].astype(np.float64) for start in range(0, len(phi), BLOCK))
    return np.concatenate(group.collect([np.square(block).sum(1) for block in blocks])).mean()


def phi_of(candidates, indices):
    """The features of these pairs, (b, d), whichever process has them."""
    start, stop, _ = candidates.rows.indices(len(candidates.ids))
    own = {int(at): candidates.phi[at - start] for at in indices if start <= at < stop}
    everyones = dict(shards().collect(list(own.items())))
    return np.stack([everyones[int(at)] for at in indices])


def entropies(policy, tokenizer, pool, logps, settings, extra):
    """H(x) of each prompt, (prompts,) nats: over `entropy_samples` extra samples, or the pool's own
    responses' logps.
    """
    if not settings.entropy_samples:
        return predictive_entropy(logps, pool.prompt_index, len(pool.prompts))
    samples = generate(policy, tokenizer, pool.prompts, responses=settings.entropy_samples, **extra)
    drawn = response_logps(policy, *sequences(samples), settings.token_budget)
    return predictive_entropy(drawn, samples.prompt_index, len(pool.prompts))


def hidden_columns(policy, pool, labelled, settings):
    """hidden and past_hidden: differences of the frozen pi_SFT's last hidden states (APO)."""
    prompts, responses = sequences(pool)
    past_prompts, past_responses = labelled_sequences(labelled)
    states = last_hidden_states(
        policy, prompts + past_prompts, responses + past_responses, settings.token_budget
    )
    past = states[len(responses) :]
    return {
        "hidden": states[pool.pairs[:, 0]] - states[pool.pairs[:, 1]],
        "past_hidden": past[: len(labelled)] - past[len(labelled) :],
    }
