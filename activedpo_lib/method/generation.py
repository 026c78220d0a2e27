"""Sampling the pool (Alg. 1 l. 3): m responses per prompt, the prefill shared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedTokenizerBase

from activedpo_lib.memory import Part, in_batches
from activedpo_lib.method.models import encode_prompt
from activedpo_lib.records import LabelledPair, Pool, Prompt, Response, Sampling, Tokens
from activedpo_lib.streams import Stream
from activedpo_lib.supported import ends_of

PairName = tuple[str, frozenset[Tokens]]
USUAL = Sampling(1, 1).batch_sequences
# Sequences that ended leave the batch once a quarter of it has: each time copies the cache, and at
# every end that costs more than it saves. Matrix products of very few rows round otherwise than
# those of many; down to 8 rows all bits were the same (benchmarks/README.md).
COMPACT, FEWEST = 0.75, 8


def generate(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    stream: Stream,
) -> Pool:
    """Sample `sampling.responses` responses to each Prompt and pair them: the round's D_t.

    A response's random numbers are named by `stream` and its prompt's id alone: neither the pool's
    order, nor the batch size, nor the strategy moves them.
    """
    encoded = [encode_prompt(tokenizer, prompt.text) for prompt in prompts]
    shape = (sampling.responses, sampling.max_new_tokens)
    noise = [stream.child(prompt.id).numpy().random(shape) for prompt in prompts]
    # The first also fills: chat models name several (Llama 3, Qwen3, Gemma 3).
    ends = tuple(dict.fromkeys((tokenizer.eos_token_id, *ends_of(model))))
    sampled = sample(model, encoded, noise, sampling, ends)
    drawn = tuple(
        Response(prompt.id, tokens, str(tokenizer.decode(list(tokens), skip_special_tokens=True)))
        for prompt, responses in zip(prompts, sampled, strict=True)
        for tokens in responses
    )
    prompt_index = np.repeat(np.arange(len(prompts)), sampling.responses)
    pairs = _pairs(drawn, sampling.responses)
    return Pool(tuple(prompts), tuple(encoded), drawn, prompt_index, pairs)


def _pairs(drawn: Sequence[Response], responses: int) -> np.ndarray:
    """All pairs of one prompt's responses, (n, 2); the same response twice is no pair."""
    pairs = [
        (start + i, start + j)
        for start in range(0, len(drawn), responses)
        for i, j in combinations(range(responses), 2)
        if drawn[start + i].tokens != drawn[start + j].tokens
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def pair_name(prompt: Prompt, first: Response, second: Response) -> PairName:
    """What two responses to a prompt are called, whichever comes first."""
    return prompt.id, frozenset((first.tokens, second.tokens))


def without_labelled(pool: Pool, labelled: Iterable[LabelledPair]) -> Pool:
    """The pool without the pairs that were labelled before; it may have none left."""
    known = {pair_name(p.prompt, p.chosen, p.rejected) for p in labelled}
    names = [
        pair_name(pool.prompts[pool.prompt_index[a]], pool.responses[a], pool.responses[b])
        for a, b in pool.pairs
    ]
    fresh = np.array([name not in known for name in names], dtype=bool)
    return dataclasses.replace(pool, pairs=pool.pairs[fresh])


def sample(
    model: torch.nn.Module,
    prompts: Sequence[Tokens],
    noise: Sequence[np.ndarray],
    sampling: Sampling,
    ends: Sequence[int],
) -> list[list[Tokens]]:
    """Token ids of the responses to each prompt, each ending with one of `ends` unless cut.

    prompts: token id sequences; noise: for each an (m, steps) array of uniforms, one a token
    (inverse CDF).
    """
    limit, copies = sampling.batch_sequences, sampling.responses
    # Where the first batch is to tell how many sequences fit, it has the longest.
    by_length = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i), reverse=limit == 0)
    result: list[list[Tokens]] = [[] for _ in prompts]

    def split(sequences: int, done: int) -> Iterator[Part]:
        step = max(1, sequences // copies)
        for start in range(done, len(prompts), step):
            chunk = by_length[start : start + step]
            yield Part(chunk, len(chunk), len(chunk) * copies)

    def draw(chunk: list[int]) -> None:
        uniforms = np.stack([noise[i] for i in chunk])
        drawn = _sample_batch(model, [prompts[i] for i in chunk], uniforms, sampling, ends)
        for i, responses in zip(chunk, drawn, strict=True):
            result[i] = responses

    in_batches(split, draw, limit, USUAL, next(model.parameters()).device)
    return result


@torch.inference_mode()
def _sample_batch(
    model: torch.nn.Module,
    prompts: Sequence[Tokens],
    noise: np.ndarray,
    sampling: Sampling,
    ends: Sequence[int],
) -> list[list[Tokens]]:
    device = next(model.parameters()).device
    count, copies, steps = noise.shape
    ids, mask = (t.to(device) for t in _padded_left(prompts, ends[0]))
    uniforms = torch.from_numpy(noise.reshape(count * copies, steps)).to(device)

    settings: Any = model.config
    cache = DynamicCache(config=settings)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = _step(model, ids, mask, positions, cache)
    cache.batch_repeat_interleave(copies)  # prefilled once, then m copies
    logits, mask, positions = (
        t.repeat_interleave(copies, 0) for t in (logits, mask, positions[:, -1:])
    )
    tokens = torch.full((count * copies, steps), ends[0], device=device)
    stops = torch.tensor(ends, device=device)
    rows = torch.arange(count * copies, device=device)  # those that the model's batch still holds
    alive = torch.ones_like(rows, dtype=torch.bool)
    for step in range(steps):
        going = rows[alive]
        tokens[going, step] = _draw(logits[alive], uniforms[going, step], sampling)
        alive = ~torch.isin(tokens[rows, step], stops)
        left = int(alive.sum())
        if step + 1 == steps or not left:
            break
        if FEWEST <= left <= COMPACT * len(rows):
            cache.batch_select_indices(alive.nonzero().squeeze(1))
            rows, mask, positions, alive = (t[alive] for t in (rows, mask, positions, alive))
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        positions = positions + 1
        logits = _step(model, tokens[rows, step : step + 1], mask, positions, cache)
    return _until_end(tokens.cpu(), copies, ends)


def _padded_left(prompts: Sequence[Tokens], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask), (n, width): so that all responses start at one column."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros_like(ids)
    for at, prompt in enumerate(prompts):
        ids[at, width - len(prompt) :] = torch.tensor(prompt)
        mask[at, width - len(prompt) :] = 1
    return ids, mask


def _step(
    model: torch.nn.Module,
    ids: torch.Tensor,
    mask: torch.Tensor,
    positions: torch.Tensor,
    cache: DynamicCache,
) -> torch.Tensor:
    return model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


def _draw(logits: torch.Tensor, uniforms: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """One token a row by the inverse CDF: the first token whose cumulated probability passes the
    uniform.
    """
    probability = torch.softmax(logits.float() / sampling.temperature, -1).double()
    if sampling.top_k or sampling.top_p < 1:
        probability = _truncated(probability, sampling.top_k, sampling.top_p)
    cumulated = probability.cumsum(-1)
    return torch.searchsorted(
        cumulated, (uniforms * cumulated[:, -1]).unsqueeze(1), right=True
    ).squeeze(1)


def _truncated(probability: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Zero but for the `top_k` most probable tokens, and of those the fewest that hold `top_p` of
    all (D9); not rescaled.
    """
    ordered, at = probability.sort(dim=-1, descending=True, stable=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p] = 0.0
    if top_k:
        ordered[:, top_k:] = 0.0
    return torch.zeros_like(probability).scatter_(-1, at, ordered)


def _until_end(tokens: torch.Tensor, copies: int, ends: Sequence[int]) -> list[list[Tokens]]:
    rows: list[Tokens] = []
    for row in tokens.tolist():
        length = next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
        rows.append(tuple(row[:length]))
    return [rows[start : start + copies] for start in range(0, len(rows), copies)]
