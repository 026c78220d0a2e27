"""Pools unlike the usual one, as functions of its prompts: copies, and junk (Fig. 12). And pools
that leave little to choose from.
"""

import dataclasses
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from numpy.random import Generator

from activedpo_lib.records import Prompt
from activedpo_lib.schema import Params
from activedpo_lib.streams import Stream

# What pool and evaluation alone see: with these, runs share pi_SFT and reward models.
NEUTRAL: MappingProxyType[str, Any] = MappingProxyType(
    {"skew": 0.0, "evaluation_skew": 0.0, "pool_subset": "", "copies": 1, "duplicated": 1.0,
     "junk": 0.0}
)  # fmt: skip

MOST_LABELLED = 0.03  # of a round's pairs; the paper labels 50 of 3,000 (Sec. 4)


def labelled_share(params: Params) -> float:
    """Labels a round as a share of the pairs of its pool."""
    generation = params.generation
    each = 1 if params.replay else generation.responses * (generation.responses - 1) // 2
    return params.batch_size / (generation.prompts * each)


def scarcity_warning(params: Params) -> str:
    """What to say of a batch that is a large part of its pool, with the ratio; "" for a small one.
    No error: it is what the user asked for.
    """
    if (share := labelled_share(params)) <= MOST_LABELLED:
        return ""
    return (
        f"warning: {params.batch_size} labels a round are {share:.1%} of the pool's "
        f"{round(params.batch_size / share):,} pairs, more than {MOST_LABELLED:.0%}: there is "
        "little to choose from, and strategies come out alike; lower batch_size or raise "
        "generation.prompts"
    )


def copies_of(prompt: Prompt, copies: int) -> tuple[Prompt, ...]:
    """The prompt and its copies, `copies` in all: the same text and facts, each with an id of its
    own, so that each has responses of its own. The first is the prompt itself.
    """
    more = (dataclasses.replace(prompt, id=f"{prompt.id}-copy-{k}") for k in range(1, copies))
    return (prompt, *more)


def draw(
    prompts: Sequence[Prompt], count: int, copies: int, duplicated: float, rng: Generator
) -> list[Prompt]:
    """A round's `count` prompts, drawn without replacement; of them the share `duplicated` are
    prompts that stand there `copies` times, the last perhaps fewer, and the others stand once.

    With one copy these are `count` different prompts. With more the draw is the same and its first
    prompts are kept: a pool with copies holds a part of the usual one's prompts.
    """
    drawn = [prompts[row] for row in rng.choice(len(prompts), count, replace=False)]
    if copies == 1:
        return drawn
    once = count - round(duplicated * count)
    groups = drawn[once : once + -(-(count - once) // copies)]
    return [*drawn[:once], *(c for prompt in groups for c in copies_of(prompt, copies))][:count]


def with_junk(prompts: Sequence[Prompt], share: float, *, stream: Stream) -> tuple[Prompt, ...]:
    """The prompts, about the share `share` of them marked as junk by name: the oracle answers their
    pairs by a fair coin (`oracles.label`). Their text says nothing of it.
    """
    marked = stream.uniforms([prompt.id for prompt in prompts]) < share
    return tuple(
        dataclasses.replace(p, facts=MappingProxyType({**p.facts, "junk": True})) if is_junk else p
        for p, is_junk in zip(prompts, marked, strict=True)
    )
