"""How good is the policy: reward, win-rate, true utility, length, distinct responses on held-out
prompts (D14).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from activedpo_lib.method.formulas import win_rate
from activedpo_lib.records import Pool, Prompt, Score


def evaluate(
    pool: Pool,
    responses: int,
    score: Score,
    initial_rewards: np.ndarray | None = None,
    utility: Callable[[Prompt, str], float] | None = None,
) -> tuple[dict[str, float], np.ndarray]:
    """Measures of a policy from the Pool that it generated for the evaluation prompts.

    responses: how many each prompt has; score: the oracle's or another evaluator's;
    initial_rewards: (prompts, m) rewards of the initial LLM's responses to the same prompts (None:
    this is the initial LLM); utility: the truth, if known. Returns (measures, rewards (prompts,
    responses)). Rewards in the oracle's units, length in tokens, utility in utils.
    """
    prompts = [pool.prompts[at] for at in pool.prompt_index]
    texts = [response.text for response in pool.responses]
    rewards = score(prompts, texts).reshape(-1, responses)
    measures = {
        "reward": rewards.mean(),
        "reward_std": rewards.std(),
        "win_rate": win_rate(
            rewards, rewards if initial_rewards is None else initial_rewards
        ).mean(),
        "utility": np.nan
        if utility is None
        else np.mean([utility(p, t) for p, t in zip(prompts, texts, strict=True)]),
        "length": np.mean([len(response.tokens) for response in pool.responses]),
        "distinct": len({(r.prompt_id, r.tokens) for r in pool.responses}) / len(pool.responses),
    }
    return {name: float(value) for name, value in measures.items()}, rewards
