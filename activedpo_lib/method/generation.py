"""Sampling the pool (Alg. 1 l. 3): m responses per prompt, the prefill shared."""

import dataclasses
from itertools import combinations

import numpy as np
import torch
from transformers import DynamicCache

from activedpo_lib.method.models import encode_prompt
from activedpo_lib.records import Pool, Response
from activedpo_lib.shards import shards


def generate(
    model,
    tokenizer,
    prompts,
    stream,
    responses,
    max_new_tokens,
    temperature=1.0,
    batch_sequences=384,
    top_k=0,
    top_p=1.0,
):
    """Sample `responses` responses to each Prompt and pair them: the round's D_t.

    A response's random numbers are named by `stream` and its prompt's id alone: neither the pool's
    order, nor the batch size, nor the strategy moves them. top_k 0 and top_p 1 keep every token
    (D9). Returns a Pool.
    """
    encoded = [encode_prompt(tokenizer, prompt.text) for prompt in prompts]
    noise = [
        stream.child(prompt.id).numpy().random((responses, max_new_tokens)) for prompt in prompts
    ]
    group, batch = shards(), max(1, batch_sequences // responses)
    mine = group.share(len(prompts))
    how = (temperature, top_k, top_p)
    sampled = group.collect(
        sample(model, encoded[mine], noise[mine], how, tokenizer.eos_token_id, batch)
    )
    drawn = [
        Response(prompt.id, tokens, tokenizer.decode(tokens, skip_special_tokens=True))
        for prompt, group in zip(prompts, sampled, strict=True)
        for tokens in group
    ]
    prompt_index = np.repeat(np.arange(len(prompts)), responses)
    return Pool(
        tuple(prompts), tuple(encoded), tuple(drawn), prompt_index, _pairs(drawn, responses)
    )


def sampling(settings):
    """The arguments of `generate` that GenerationParams name (D9)."""
    return {
        name: getattr(settings, name)
        for name in ("temperature", "batch_sequences", "top_k", "top_p")
    }


def _pairs(drawn, responses):
    """All pairs of one prompt's responses, (n, 2); the same response twice is no pair."""
    pairs = [
        (start + i, start + j)
        for start in range(0, len(drawn), responses)
        for i, j in combinations(range(responses), 2)
        if drawn[start + i].tokens != drawn[start + j].tokens
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def pair_name(prompt, first, second):
    """What two responses to a prompt are called, whichever comes first."""
    return prompt.id, frozenset((first.tokens, second.tokens))


def without_labelled(pool, labelled):
    """The pool without the pairs that were labelled before. Raises ValueError where none is
    left.
    """
    known = {pair_name(p.prompt, p.chosen, p.rejected) for p in labelled}
    names = [
        pair_name(pool.prompts[pool.prompt_index[a]], pool.responses[a], pool.responses[b])
        for a, b in pool.pairs
    ]
    fresh = [name not in known for name in names]
    if not any(fresh):
        raise ValueError(
            f"the pool of {len(pool.prompts)} prompts has no pair to label: the policy writes one "
            "response to each prompt, or "
            "all were labelled; lower dpo.learning_rate, raise generation.temperature, or add "
            "prompts"
        )
    return dataclasses.replace(pool, pairs=pool.pairs[np.array(fresh, dtype=bool)])


def sample(model, prompts, noise, how, eos, batch_prompts):
    """Token ids of the responses to each prompt: a list of lists of tuples, each ending with `eos`
    unless cut.

    prompts: token id sequences; noise: for each an (m, steps) array of uniforms, one a token
    (inverse CDF); how: (temperature, top_k, top_p).
    """
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    result = [None] * len(prompts)
    for start in range(0, len(order), batch_prompts):
        chunk = order[start : start + batch_prompts]
        drawn = _sample_batch(
            model, [prompts[i] for i in chunk], np.stack([noise[i] for i in chunk]), how, eos
        )
        for i, group in zip(chunk, drawn, strict=True):
            result[i] = group
    return result


@torch.inference_mode()
def _sample_batch(model, prompts, noise, how, eos):
    device = next(model.parameters()).device
    count, copies, steps = noise.shape
    width = max(map(len, prompts))
    ids = torch.full((count, width), eos)
    mask = torch.zeros_like(ids)
    for at, prompt in enumerate(prompts):
        ids[at, width - len(prompt) :] = torch.tensor(prompt)
        mask[at, width - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    uniforms = torch.from_numpy(noise.reshape(count * copies, steps)).to(device)

    cache = DynamicCache(config=model.config)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = _step(model, ids, mask, positions, cache)
    cache.batch_repeat_interleave(copies)  # prefilled once, then m copies
    logits, mask, positions = (
        t.repeat_interleave(copies, 0) for t in (logits, mask, positions[:, -1:])
    )
    tokens = torch.full((count * copies, steps), eos, device=device)
    alive = torch.ones(count * copies, dtype=torch.bool, device=device)
    for step in range(steps):
        tokens[alive, step] = _draw(logits[alive], uniforms[alive, step], *how)
        alive &= tokens[:, step] != eos
        if step + 1 == steps or not alive.any():
            break
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        positions = positions + 1
        logits = _step(model, tokens[:, step : step + 1], mask, positions, cache)
    return _until_eos(tokens.cpu(), copies, eos)


def _step(model, ids, mask, positions, cache):
    return model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


def _draw(logits, uniforms, temperature, top_k, top_p):
    """One token a row by the inverse CDF: the first token whose cumulated probability passes the
    uniform.
    """
    probability = torch.softmax(logits.float() / temperature, -1).double()
    if top_k or top_p < 1:
        probability = _truncated(probability, top_k, top_p)
    cumulated = probability.cumsum(-1)
    return torch.searchsorted(
        cumulated, (uniforms * cumulated[:, -1]).unsqueeze(1), right=True
    ).squeeze(1)


def _truncated(probability, top_k, top_p):
    """Zero but for the `top_k` most probable tokens, and of those the fewest that hold `top_p` of
    all (D9); not rescaled.
    """
    ordered, at = probability.sort(dim=-1, descending=True, stable=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p] = 0.0
    if top_k:
        ordered[:, top_k:] = 0.0
    return torch.zeros_like(probability).scatter_(-1, at, ordered)


def _until_eos(tokens, copies, eos):
    rows = []
    for row in tokens.tolist():
        rows.append(tuple(row[: row.index(eos) + 1]) if eos in row else tuple(row))
    return [rows[start : start + copies] for start in range(0, len(rows), copies)]
