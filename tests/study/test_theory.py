"""The two-layer network of Proposition 1, against automatic differentiation and the definitions."""

import numpy as np
import pytest
import torch

from activedpo_lib.streams import stream
from activedpo_lib.study.probing import theory

SETTING = theory.Setting(width=32, inputs=6, pool=30, batch=5, rounds=2, test=40)


def test_features_are_the_gradient_over_the_root_of_the_width():
    rng = stream(0, "t").numpy()
    weights, z = theory.initial_weights(SETTING, rng), torch.tensor(theory.inputs(7, 6, rng))
    parts = [part.clone().requires_grad_(True) for part in weights]
    for row in range(7):
        first, last = torch.autograd.grad(theory.reward(parts, z[row : row + 1])[0], parts)
        truth = torch.cat([last, first.flatten()]) / np.sqrt(32)
        torch.testing.assert_close(
            torch.tensor(theory.features(weights, z)[row]), truth, atol=1e-6, rtol=1e-5
        )


def test_the_assumptions_hold():
    rng = stream(0, "t").numpy()
    weights, z = theory.initial_weights(SETTING, rng), theory.inputs(200, 6, rng)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(z[:, :3], z[:, 3:])
    assert np.abs(theory.truth(z)).max() <= 1
    np.testing.assert_allclose(
        theory.reward(weights, torch.tensor(z)), 0, atol=1e-4
    )  # r is 0 at the start


def test_training_lowers_eq_5_and_more_ridge_stays_nearer_the_start():
    rng = stream(0, "t").numpy()
    start = theory.initial_weights(SETTING, rng)
    pool = [theory.inputs(40, 6, rng) for _ in range(2)]
    chosen, rejected = theory.labelled(pool, np.arange(40), rng)
    distances = []
    for ridge in (0.1, 10.0):
        trained = theory.train(start, chosen, rejected, ridge)
        gap = theory.rewards_apart(trained, chosen, rejected)
        assert np.logaddexp(0, -gap).mean() < np.log(2)
        distances.append(
            sum(float((a - b).square().sum()) for a, b in zip(trained, start, strict=True))
        )
    assert distances[1] < distances[0]


def test_uncertainty_falls_with_labels_and_the_fitted_bound_covers_what_it_was_fitted_on():
    found = [theory.experiment(SETTING, stream(seed, "theory")) for seed in range(2)]
    for result in found:
        assert [labels for labels, _, _ in result] == [0, 5, 10]
        sigmas = [sigma for _, sigma, _ in result]
        assert sigmas[2].mean() < sigmas[1].mean() < sigmas[0].mean()
    nu = theory.fitted_constant(found, 0.9)
    assert abs(theory.coverage(found, nu).mean() - 0.9) < 0.02
    assert (theory.coverage(found, 1e9) == 1).all()


def test_an_experiment_can_be_repeated():
    first, again = (theory.experiment(SETTING, stream(3, "theory"))[-1] for _ in range(2))
    np.testing.assert_array_equal(first[2], again[2])


def test_the_constant_is_checked_on_experiments_that_it_was_not_fitted_to():
    found = theory.network_table(SETTING, 4, 0.9)
    assert len(found) == 2 * 4 * 3
    assert found.groupby("experiment")["checked"].first().tolist() == [False, False, True, True]
    fitted = [theory.experiment(SETTING, stream(seed, "theory")) for seed in (0, 1)]
    active = found[found["strategy"] == "activedpo"]
    assert active["nu"].unique().tolist() == [theory.fitted_constant(fitted, 0.9)]
    with pytest.raises(ValueError, match="give 2 or more"):
        theory.network_table(SETTING, 1, 0.9)
