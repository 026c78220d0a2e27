"""A cache that grows by a column a step, and shrinks as sequences end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, DynamicCache

from activedpo_lib.records import Tokens

# Sequences that ended leave the batch once a quarter of it has: each time copies the cache, and at
# every end that costs more than it saves. Matrix products of very few rows round otherwise than
# those of many; down to 8 rows all bits were the same (benchmarks/README.md).
COMPACT, FEWEST = 0.75, 8


class Growing:
    """The keys and values of prompts, each read once and then copied `copies` times.

    `logits` (rows, vocabulary) are the last position's; `rows` says which of the batch's sequences
    the cache still holds.
    """

    def __init__(
        self, model: torch.nn.Module, prompts: Sequence[Tokens], copies: int, pad: int
    ) -> None:
        ids, mask = (part.to(device_of(model)) for part in padded_left(prompts, pad))
        settings: Any = model.config
        self._model, self._cache = model, DynamicCache(config=settings)
        positions = first_positions(mask)
        logits = step(model, ids, mask, positions, self._cache)
        self._cache.batch_repeat_interleave(copies)
        self.logits, self._mask, self._positions = (
            part.repeat_interleave(copies, 0) for part in (logits, mask, positions[:, -1:])
        )
        self.rows = torch.arange(len(self.logits), device=ids.device)

    def drop(self, alive: torch.Tensor) -> torch.Tensor:
        """Forget the rows that are not `alive`, where that pays; returns which of the rest are."""
        if not FEWEST <= int(alive.sum()) <= COMPACT * len(self.rows):
            return alive
        self._cache.batch_select_indices(alive.nonzero().squeeze(1))
        self.rows, self._mask, self._positions = (
            part[alive] for part in (self.rows, self._mask, self._positions)
        )
        return alive[alive]

    def advance(self, tokens: torch.Tensor) -> None:
        """Read one more token of each row, (rows,)."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], 1)
        self._positions = self._positions + 1
        self.logits = step(
            self._model, tokens.unsqueeze(1), self._mask, self._positions, self._cache
        )


def padded_left(prompts: Sequence[Tokens], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask), (n, width): so that all responses start at one column."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros_like(ids)
    for at, prompt in enumerate(prompts):
        ids[at, width - len(prompt) :] = torch.tensor(prompt)
        mask[at, width - len(prompt) :] = 1
    return ids, mask


def first_positions(mask: torch.Tensor) -> torch.Tensor:
    """Of each column of padded prompts, (n, width): 0 at a prompt's first token."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def step(
    model: torch.nn.Module,
    ids: torch.Tensor,
    mask: torch.Tensor,
    positions: torch.Tensor,
    cache: Cache,
) -> torch.Tensor:
    """Logits (n, vocabulary) after `ids`, which the cache has read then."""
    return model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


def device_of(model: torch.nn.Module) -> torch.device:
    """Where the model's weights are."""
    return next(model.parameters()).device
