"""Replay: the pool is comparisons that humans labelled before; a label is revealed when its pair is
picked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from activedpo_lib.method.formulas import implicit_reward, preference_probability, share_above
from activedpo_lib.method.generation import without_labelled
from activedpo_lib.method.logps import reference, response_logps
from activedpo_lib.method.models import encode_prompt, encode_response
from activedpo_lib.method.oracles import answered
from activedpo_lib.records import Comparison, LabelledPair, Pair, Pool, Prompt, Response, Task
from activedpo_lib.streams import Stream


def replay_task(task: Task) -> Task:
    """The task with one pool prompt a comparison; the human's answer is hidden in its facts until
    it is revealed.
    """
    rows = [row for row in task.comparisons if row.chosen != row.rejected]
    prompts = tuple(
        Prompt(
            f"{task.name}-comparison-{at}",
            row.prompt,
            {"chosen": row.chosen, "rejected": row.rejected},
        )
        for at, row in enumerate(rows)
    )
    return dataclasses.replace(task, prompts=prompts, comparisons=())


def comparison_pool(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    labelled: Iterable[LabelledPair],
    *,
    stream: Stream,
) -> Pool:
    """The Pool of these comparisons, which of the two is first drawn by name, without those
    labelled before.
    """
    swap = stream.uniforms([prompt.id for prompt in prompts]) < 0.5
    texts = [
        (p.facts["rejected"], p.facts["chosen"])[:: 1 if s else -1]
        for p, s in zip(prompts, swap, strict=True)
    ]
    responses = tuple(
        Response(prompt.id, encode_response(tokenizer, text), text)
        for prompt, both in zip(prompts, texts, strict=True)
        for text in both
    )
    pairs = np.arange(2 * len(prompts)).reshape(-1, 2)
    encoded = tuple(encode_prompt(tokenizer, prompt.text) for prompt in prompts)
    prompt_index = np.repeat(np.arange(len(prompts)), 2)
    pool = Pool(tuple(prompts), encoded, responses, prompt_index, pairs)
    return without_labelled(pool, labelled)


def reveal(pairs: Iterable[Pair], round: int = 0) -> tuple[LabelledPair, ...]:
    """The LabelledPairs that the humans made of these Pairs."""
    return tuple(
        answered(pair, pair.first.text == pair.prompt.facts["chosen"], round) for pair in pairs
    )


def held_out_logps(
    policy: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    held_out: Sequence[Comparison],
    token_budget: int = 4096,
) -> np.ndarray:
    """log pi(y|x) of the chosen and the rejected response of each comparison, (n, 2) float32."""
    prompts = [encode_prompt(tokenizer, row.prompt) for row in held_out] * 2
    texts = [row.chosen for row in held_out] + [row.rejected for row in held_out]
    responses = [encode_response(tokenizer, text) for text in texts]
    return response_logps(policy, prompts, responses, token_budget).reshape(2, -1).T


def held_out_rewards(
    policy: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    held_out: Sequence[Comparison],
    beta: float,
    token_budget: int = 4096,
) -> np.ndarray:
    """The implicit rewards (n, 2) of the chosen and the rejected response, float64 nats."""
    ours = held_out_logps(policy, tokenizer, held_out, token_budget)
    with reference(policy):
        theirs = held_out_logps(policy, tokenizer, held_out, token_budget)
    return implicit_reward(ours, theirs, beta).astype(np.float64)


def agreement(rewards: np.ndarray) -> dict[str, float]:
    """How well the implicit reward tells what humans chose, from `held_out_rewards` (n, 2).

    agreement: the share of comparisons with r(chosen) > r(rejected), ties half; nll: mean
    -log sigma(r_w - r_l), nats.
    """
    chosen, rejected = rewards.T
    return {
        "agreement": share_above(chosen, rejected),
        "nll": float(-np.log(preference_probability(chosen, rejected)).mean()),
    }
