"""Replay: the pool is comparisons that humans labelled before; a label is revealed when its pair is
picked.
"""

import dataclasses

import numpy as np

from activedpo_lib.method.formulas import preference_probability, share_above
from activedpo_lib.method.generation import without_labelled
from activedpo_lib.method.measures import implicit_rewards
from activedpo_lib.method.models import encode_prompt, encode_response
from activedpo_lib.records import LabelledPair, Pool, Prompt, Response


def replay_task(task):
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


def comparison_pool(tokenizer, prompts, stream, labelled):
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
    return without_labelled(
        Pool(tuple(prompts), encoded, responses, np.repeat(np.arange(len(prompts)), 2), pairs),
        labelled,
    )


def reveal(pairs, round=0):
    """The LabelledPairs that the humans made of these Pairs."""
    return tuple(
        LabelledPair(
            pair.prompt,
            pair.prompt_tokens,
            *(
                (pair.first, pair.second)[
                    :: 1 if pair.first.text == pair.prompt.facts["chosen"] else -1
                ]
            ),
            round,
        )
        for pair in pairs
    )


def agreement(policy, tokenizer, held_out, beta, token_budget=4096):
    """How well the implicit reward tells what humans chose of the held-out Comparisons.

    agreement: the share of comparisons with r(chosen) > r(rejected), ties half; nll: mean -log
    sigma(r_w - r_l), nats.
    """
    prompts = [encode_prompt(tokenizer, row.prompt) for row in held_out] * 2
    texts = [row.chosen for row in held_out] + [row.rejected for row in held_out]
    rewards = implicit_rewards(
        policy, prompts, [encode_response(tokenizer, text) for text in texts], beta, token_budget
    )
    chosen, rejected = np.split(rewards.astype(np.float64), 2)
    return {
        "agreement": share_above(chosen, rejected),
        "nll": float(-np.log(preference_probability(chosen, rejected)).mean()),
    }
