"""The paper's equations and the field's statistics as pure functions of tensors and arrays."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

TINY = 1e-12


def sequence_logp(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """sum_t log pi(y_t | x, y_<t), nats, (b,). logits (b, t, v) predict labels (b, t); label -100
    is padding.
    """
    losses = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none"
    )
    return -losses.view(labels.shape).sum(-1)


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Each row of x (n, d) divided by its l2 norm; rows of zeros stay."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), TINY)


def implicit_reward(policy_logp: np.ndarray, reference_logp: np.ndarray, beta: float) -> np.ndarray:
    """r(x, y) = beta (log pi(y|x) - log pi_ref(y|x)), in nats; Sec. 2, D1. Both (n,): sums over
    response tokens.
    """
    return beta * (policy_logp - reference_logp)


def preference_probability(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """p(y1 > y2 | x) = sigma(r1 - r2), Eq. 1; arrays of rewards in, probabilities out."""
    gap = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.exp(-np.logaddexp(0.0, -gap))


def dpo_loss(chosen_reward: torch.Tensor, rejected_reward: torch.Tensor) -> torch.Tensor:
    """-log sigma(r_w - r_l), Eq. 2, (n,) nats: torch tensors of implicit rewards."""
    return -torch.nn.functional.logsigmoid(chosen_reward - rejected_reward)


def share_above(first: ArrayLike, second: ArrayLike) -> float:
    """Share of the elements of `first` above those of `second`, ties half: agreement with labels,
    or a win-rate.
    """
    first, second = np.asarray(first), np.asarray(second)
    return float(np.mean((first > second) + 0.5 * (first == second)))


def win_rate(rewards: ArrayLike, initial_rewards: ArrayLike) -> np.ndarray:
    """Share of (response, initial LLM's response) couples of one prompt that the response wins;
    ties count half.

    Both (prompts, responses); every response of a prompt meets every initial response of it.
    Returns (prompts,).
    """
    ours, theirs = np.asarray(rewards)[:, :, None], np.asarray(initial_rewards)[:, None, :]
    if ours.shape[0] != theirs.shape[0]:
        raise ValueError(
            f"win_rate compares the same prompts: got {ours.shape[0]} and {theirs.shape[0]}"
        )
    return ((ours > theirs) + 0.5 * (ours == theirs)).mean((1, 2))


def interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean over seeds: (mean, half width); the half width is NaN for
    one value.
    """
    from scipy.stats import t

    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    if count < 2:
        return values.mean(), float("nan")
    return values.mean(), t.ppf(0.5 + level / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
