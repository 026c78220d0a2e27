"""Sampling the pool (Alg. 1 l. 3): m responses per prompt, the prefill shared."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from activedpo_lib.memory import Part, in_batches
from activedpo_lib.method.decoding.fixed import Fixed, FixedBatches
from activedpo_lib.method.decoding.growing import Growing, device_of
from activedpo_lib.method.models import encode_prompt
from activedpo_lib.records import LabelledPair, Pool, Prompt, Response, Sampling, Tokens
from activedpo_lib.streams import Stream
from activedpo_lib.supported import ends_of

PairName = tuple[str, frozenset[Tokens]]
USUAL = Sampling(1, 1).batch_sequences


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
        drawn = _sample_batch(start, [prompts[i] for i in chunk], uniforms, sampling, ends)
        for i, responses in zip(chunk, drawn, strict=True):
            result[i] = responses

    with _batches(model, prompts, sampling) as start:
        in_batches(split, draw, limit, USUAL, device_of(model))
    return result


@contextlib.contextmanager
def _batches(
    model: torch.nn.Module, prompts: Sequence[Tokens], sampling: Sampling
) -> Iterator[Callable[[Sequence[Tokens], int, int], Growing | Fixed]]:
    """What starts a batch, from (prompts, copies, pad)."""
    if not sampling.graphed:
        yield functools.partial(Growing, model)
        return
    at_a_time = sampling.batch_sequences // sampling.responses
    start = FixedBatches(model, prompts, sampling.max_new_tokens, at_a_time)
    try:
        yield start
    finally:
        start.close()


@torch.inference_mode()
def _sample_batch(
    start: Callable[[Sequence[Tokens], int, int], Growing | Fixed],
    prompts: Sequence[Tokens],
    noise: np.ndarray,
    sampling: Sampling,
    ends: Sequence[int],
) -> list[list[Tokens]]:
    count, copies, steps = noise.shape
    cache = start(prompts, copies, ends[0])
    device = cache.rows.device
    uniforms = torch.from_numpy(noise.reshape(count * copies, steps)).to(device)
    tokens = torch.full((count * copies, steps), ends[0], device=device)
    stops = torch.tensor(ends, device=device)
    alive = torch.ones_like(cache.rows, dtype=torch.bool)
    for step in range(steps):
        going = cache.rows[alive]
        tokens[going, step] = _draw(cache.logits[alive], uniforms[going, step], sampling)
        alive = ~torch.isin(tokens[cache.rows, step], stops)
        if step + 1 == steps or not alive.any():
            break
        alive = cache.drop(alive)
        cache.advance(tokens[cache.rows, step])
    return _until_end(tokens.cpu(), copies, ends)


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
