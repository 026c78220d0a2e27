"""Proposition 1 where its assumptions hold: a wide two-layer network as reward function, trained by
Eq. 5.

The network of the neural dueling bandits that the proposition rests on: r(z) = sqrt(m) w' relu(W
z), z of unit norm with equal halves, and an initialisation that makes r(z) = 0 for every z
(Assumption 1; Zhang et al. 2021).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from activedpo_lib.method.design import select_greedy, uncertainty
from activedpo_lib.method.formulas import preference_probability
from activedpo_lib.streams import Stream, stream

Weights = tuple[torch.Tensor, torch.Tensor]  # (W (m, d), w (m,))
Result = list[tuple[int, np.ndarray, np.ndarray]]  # (labels, sigma, error) of each round


@dataclass(frozen=True)
class Setting:
    """width: m; inputs: d, the size of z; ridge: lambda of Eq. 5; pool, batch: pairs offered and
    labelled in a round.
    """

    width: int = 256
    inputs: int = 8
    ridge: float = 1.0
    pool: int = 300
    batch: int = 60
    rounds: int = 8
    test: int = 400


def truth(z: np.ndarray) -> np.ndarray:
    """The true reward r(z), (n,), non-linear and within [-1, 1]. z: (n, d)."""
    half = z[:, : z.shape[1] // 2] * np.sqrt(2)
    return np.cos(2 * half[:, 0]) * half[:, 1] + 0.5 * np.sin(3 * half[:, 2]) * half[:, 0]


def inputs(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(count, size) float32 inputs of unit norm whose two halves are the same."""
    half = rng.standard_normal((count, size // 2))
    half /= np.linalg.norm(half, axis=1, keepdims=True) * np.sqrt(2)
    return np.concatenate([half, half], 1).astype(np.float32)


def initial_weights(setting: Setting, rng: np.random.Generator) -> Weights:
    """(W (m, d), w (m,)) with r(z) = 0 for every z of equal halves: each unit has a twin of the
    opposite sign.
    """
    m, d = setting.width // 2, setting.inputs // 2
    block, last = (
        rng.normal(0, np.sqrt(4 / setting.width), (m, d)),
        rng.normal(0, np.sqrt(2 / setting.width), m),
    )
    zero = np.zeros_like(block)
    weights = np.concatenate([np.concatenate([block, zero], 1), np.concatenate([zero, block], 1)])
    return torch.tensor(weights, dtype=torch.float32), torch.tensor(
        np.concatenate([last, -last]), dtype=torch.float32
    )


def reward(weights: Weights, z: torch.Tensor) -> torch.Tensor:
    """r_theta(z), (n,). weights: (W, w); z: (n, d) tensor."""
    first, last = weights
    return np.sqrt(len(last)) * torch.relu(z @ first.T) @ last


def features(weights: Weights, z: np.ndarray | torch.Tensor) -> np.ndarray:
    """phi(z) = grad r_theta(z) / sqrt(m), (n, m + m d) float32, in closed form."""
    first, last = weights
    seen = torch.as_tensor(z) @ first.T
    inner = (last * (seen > 0)).unsqueeze(2) * torch.as_tensor(z).unsqueeze(1)
    return torch.cat([torch.relu(seen), inner.flatten(1)], 1).numpy()


def train(
    start: Weights,
    chosen: np.ndarray,
    rejected: np.ndarray,
    ridge: float,
    steps: int = 200,
    learning_rate: float = 3e-3,
) -> Weights:
    """Minimise Eq. 5 from theta_0 by full-batch Adam: m times it, so that the sum of
    log-likelihoods has weight one.
    """
    weights = [part.clone().requires_grad_(True) for part in start]
    optimiser = torch.optim.Adam(weights, lr=learning_rate)
    chosen, rejected = torch.as_tensor(chosen), torch.as_tensor(rejected)
    width = len(start[1])
    for _ in range(steps):
        optimiser.zero_grad()
        gap = reward(weights, chosen) - reward(weights, rejected)
        distance = sum(
            (now - then).square().sum() for now, then in zip(weights, start, strict=True)
        )
        loss = -torch.nn.functional.logsigmoid(gap).sum() + width * ridge * distance / 2
        loss.backward()
        optimiser.step()
    return tuple(part.detach() for part in weights)


def experiment(setting: Setting, randomness: Stream, active: bool = True) -> Result:
    """Rounds of picking, labelling by Bradley-Terry on the truth, and training from theta_0 on all
    labels (Eq. 5).

    active: pick by Eq. 3 and 4, else at random. Returns [(labels, sigma (test,), error (test,))]
    before each round and after the last: the proposition's two sides, without its constants, for
    the same held-out pairs.
    """
    start = initial_weights(setting, randomness.child("weights").numpy())
    pairs = randomness.child("test").numpy()
    held_out = [inputs(setting.test, setting.inputs, pairs) for _ in range(2)]
    now, past, found = start, [np.empty((0, setting.inputs), dtype=np.float32)] * 2, []
    for t in range(setting.rounds + 1):
        past_phi = difference(now, *past)
        sigma = uncertainty(difference(now, *held_out), setting.ridge, past_phi)
        error = np.abs(rewards_apart(now, *held_out) - (truth(held_out[0]) - truth(held_out[1])))
        found.append((len(past[0]), sigma, error))
        if t == setting.rounds:
            return found
        drawn = randomness.child("pool", t).numpy()
        pool = [inputs(setting.pool, setting.inputs, drawn) for _ in range(2)]
        rows = np.arange(setting.batch)
        if active:
            rows = select_greedy(
                difference(now, *pool), setting.batch, setting.ridge, past_phi
            ).indices
        past = [
            np.concatenate(both) for both in zip(past, labelled(pool, rows, drawn), strict=True)
        ]
        now = train(start, *past, setting.ridge)


def difference(weights: Weights, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """phi(z1) - phi(z2), (n, m + m d)."""
    return features(weights, first) - features(weights, second)


def rewards_apart(weights: Weights, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """r_theta(z1) - r_theta(z2), (n,)."""
    with torch.inference_mode():
        return (
            reward(weights, torch.as_tensor(first)) - reward(weights, torch.as_tensor(second))
        ).numpy()


def labelled(
    pool: list[np.ndarray], rows: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(chosen, rejected) of the pool's `rows`: a Bradley-Terry draw on the truth (Eq. 1)."""
    first, second = (side[rows] for side in pool)
    wins = rng.random(len(rows)) < preference_probability(truth(first), truth(second))
    return np.where(wins[:, None], first, second), np.where(wins[:, None], second, first)


def fitted_constant(results: list[Result], level: float) -> float:
    """nu of the proposition, fitted: the `level` quantile of error / sigma over these experiments'
    pairs; epsilon 0.
    """
    ratios = [error / np.maximum(sigma, 1e-12) for result in results for _, sigma, error in result]
    return float(np.quantile(np.concatenate(ratios), level))


def coverage(results: list[Result], constant: float) -> np.ndarray:
    """Share of held-out pairs with error <= nu sigma, (experiments, rounds)."""
    return np.array(
        [[np.mean(error <= constant * sigma) for _, sigma, error in result] for result in results]
    )


def network_table(setting: Setting, experiments: int, level: float) -> pd.DataFrame:
    """Both sides of the proposition in its own setting (Fig. 6), a row a (strategy, experiment,
    labels): coverage by nu sigma, rank correlation of sigma and error, their sizes.

    nu is fitted to `level` on the first half of the experiments; `checked`: is it of the other one?
    Raises ValueError for fewer than two experiments.
    """
    if experiments < 2:
        raise ValueError(
            f"experiments is {experiments}: half fit the constant, half check it; give 2 or more"
        )
    rows = []
    for name in ("activedpo", "random"):
        found = [
            experiment(setting, stream(seed, "theory"), name == "activedpo")
            for seed in range(experiments)
        ]
        half = max(1, experiments // 2)
        nu = fitted_constant(found[:half], level)
        for at, (result, shares) in enumerate(zip(found, coverage(found, nu), strict=True)):
            here = {"strategy": name, "experiment": at, "checked": at >= half}
            here |= {"level": level, "nu": nu}
            rows += [here | _sides(*of, share) for of, share in zip(result, shares, strict=True)]
    return pd.DataFrame(rows)


def _sides(labels: int, sigma: np.ndarray, error: np.ndarray, share: float) -> dict[str, float]:
    found = {"labels": labels, "coverage": share, "rank correlation": spearmanr(sigma, error)[0]}
    found |= {"mean error": error.mean(), "largest error": error.max()}
    return found | {"mean sigma": sigma.mean()}
