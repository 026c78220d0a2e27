"""A cache of fixed size, so that a step is always the same work: a card replays it as one graph.

A decoding step is some thousand small kernels. Where a card waits for their launches rather than
for its memory, one graph of them all is faster, though rows that ended stay in the batch. Nothing
here was run on a card yet; `python -m benchmarks.gpu` times it there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import StaticCache

from activedpo_lib.method.decoding.growing import (
    device_of,
    first_positions,
    padded_left,
    step,
)
from activedpo_lib.records import Tokens

COLUMNS = 64  # a length is rounded up to these: rounds whose longest prompts differ share a graph
SHAPES = 64  # of batches in a process, the most that are traced


class FixedBatches:
    """Starts batches of as few shapes as it can: all have the length that the longest of `prompts`
    needs, and those of one size share a cache.

    Raises ValueError for a model that `check_whole_view` refuses.
    """

    def __init__(
        self, model: torch.nn.Module, prompts: Sequence[Tokens], steps: int, at_a_time: int
    ) -> None:
        check_whole_view(model.config)
        longest = max(map(len, prompts), default=0)
        self._model, self._at_a_time = model, max(1, at_a_time)
        self._length = -(-(longest + steps) // COLUMNS) * COLUMNS
        self._caches: dict[int, StaticCache] = {}

    def __call__(self, prompts: Sequence[Tokens], copies: int, pad: int) -> Fixed:
        """A batch of these prompts. Fewer than usual (the last, or half after an out-of-memory
        error) are filled up to a half, a quarter, ... of the usual with the last one again.
        """
        size = self._at_a_time
        while size // 2 >= len(prompts):
            size //= 2
        filled = [*prompts, *[prompts[-1]] * (size - len(prompts))]
        ids, mask = (part.to(device_of(self._model)) for part in padded_left(filled, pad))
        settings: Any = self._model.config
        read = StaticCache(config=settings, max_cache_len=ids.shape[1])
        logits = step(self._model, ids, mask, first_positions(mask), read)
        if size not in self._caches:
            self._caches[size] = StaticCache(config=settings, max_cache_len=self._length)
        cache = _repeated(read, self._caches[size], copies)
        wide = torch.cat([mask, mask.new_zeros(len(mask), self._length - mask.shape[1])], 1)
        logits, wide = (part.repeat_interleave(copies, 0) for part in (logits, wide))
        return Fixed(self._model, cache, logits, wide, ids.shape[1], len(prompts) * copies)

    def close(self) -> None:
        """Give back the caches, and on a card the graphs, which hold the memory they ran in."""
        self._caches.clear()
        if device_of(self._model).type == "cuda":
            torch._inductor.cudagraph_trees.reset_cudagraph_trees()


class Fixed:
    """As `Growing`, one batch of `FixedBatches`: no row ever leaves. `rows` and `logits` leave out
    what fills the batch up.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        cache: StaticCache,
        logits: torch.Tensor,
        mask: torch.Tensor,
        column: int,
        count: int,
    ) -> None:
        self._model, self._cache, self._mask, self._column = model, cache, mask, column
        self._positions = mask.sum(1, keepdim=True) - 1
        self.logits, self.rows = logits[:count], torch.arange(count, device=logits.device)

    def drop(self, alive: torch.Tensor) -> torch.Tensor:
        """Nothing leaves: returns `alive`."""
        return alive

    def advance(self, tokens: torch.Tensor) -> None:
        """Read one more token of each row, (rows,)."""
        self._mask[:, self._column] = 1
        self._column += 1
        self._positions = self._positions + 1
        filled = tokens.new_zeros(len(self._mask))
        filled[: len(tokens)] = tokens
        given = (filled.unsqueeze(1), self._mask, self._positions)
        with torch._dynamo.config.patch(recompile_limit=SHAPES):
            logits = _stepper(tokens)(self._model, *given, self._cache)
        # A copy: a replayed graph writes its next logits where these are.
        self.logits = logits[: len(tokens)].clone()


def _stepper(tokens: torch.Tensor) -> Callable[..., torch.Tensor]:
    """A graph where there is a card to replay it; a CPU has no launches to save."""
    return graphed(step) if tokens.is_cuda else step


@functools.cache
def graphed(function: Callable[..., Any], backend: str = "inductor") -> Callable[..., Any]:
    """The function compiled for fixed shapes; with inductor, replayed as one graph on a card."""
    options: dict[str, Any] = {"mode": "reduce-overhead"} if backend == "inductor" else {}
    return torch.compile(function, dynamic=False, fullgraph=True, backend=backend, **options)


def check_whole_view(config: Any) -> None:
    """Raise ValueError where some layers of a model with this config see a window only."""
    if any(StaticCache(config=config, max_cache_len=1).is_sliding):
        raise ValueError(
            "generation.graphed needs a model whose layers all see the whole text, and this one "
            "has sliding windows: their cache moves, and no graph holds that; set it to false"
        )


def _repeated(read: StaticCache, target: StaticCache, copies: int) -> StaticCache:
    """`target`, its first columns filled with each row of `read`, `copies` times, and no more."""
    sources: Any = read.layers
    layers: Any = target.layers
    for source, layer in zip(sources, layers, strict=True):
        keys, values = (part.repeat_interleave(copies, 0) for part in (source.keys, source.values))
        if not layer.is_initialized:
            layer.lazy_initialization(keys, values)
        layer.keys[:, :, : keys.shape[2]] = keys
        layer.values[:, :, : values.shape[2]] = values
        layer.cumulative_length.copy_(source.cumulative_length)
    return target
