"""The Bayesian reward on phi against a primal optimum and dense matrices."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from activedpo_lib.method.strategies.posterior import after_pick, map_dual, reward_posterior
from activedpo_lib.records import Candidates
from activedpo_lib.streams import stream


def pool(n=30, d=6, k=8, seed=0):
    rng = stream(seed, "pool").numpy()
    phi, past = rng.standard_normal((n, d)), rng.standard_normal((k, d))
    ids = tuple((f"p{i}", 0, 1) for i in range(n))
    return Candidates(
        ids, np.arange(n), tuple(f"p{i}" for i in range(n)), phi=phi, past_phi=past, ridge=1.0
    )


def primal(found, prior):
    """(w, Sigma) by scipy and a dense inverse, the scale written out."""
    unit = np.sqrt((found.phi**2).sum(1).mean())
    z = found.past_phi / unit

    def loss(w):
        return np.logaddexp(0, -z @ w).sum() + prior / 2 * w @ w

    w = minimize(loss, np.zeros(z.shape[1]), method="BFGS", options={"gtol": 1e-9}).x
    weights = expit(z @ w) * expit(-z @ w)
    return w, np.linalg.inv(prior * np.eye(z.shape[1]) + z.T @ (weights[:, None] * z)), unit


@pytest.mark.parametrize("prior", [0.01, 0.1, 10.0])
def test_mean_and_covariance_are_those_of_the_primal_laplace_approximation(prior):
    found = pool()
    posterior = reward_posterior(found, prior)
    w, sigma, unit = primal(found, prior)
    phi = found.phi / unit
    np.testing.assert_allclose(posterior.mean, phi @ w, atol=1e-5)
    np.testing.assert_allclose(posterior.covariance, phi @ sigma @ phi.T, rtol=1e-4, atol=1e-6)


def test_before_any_label_it_is_the_prior():
    found = pool()._replace(past_phi=None)
    posterior = reward_posterior(found, 0.5)
    assert not posterior.mean.any()
    np.testing.assert_allclose(posterior.covariance, posterior.phi @ posterior.phi.T / 0.5)


def test_the_scale_of_phi_does_not_matter():
    found = pool()
    larger = found._replace(phi=found.phi * 7, past_phi=found.past_phi * 7)
    np.testing.assert_allclose(
        reward_posterior(found).mean, reward_posterior(larger).mean, atol=1e-9
    )


def test_separable_labels_converge():
    kernel = np.eye(5) * 1e4
    dual = map_dual(kernel, 1e-3)
    np.testing.assert_allclose(1e-3 * dual, expit(-kernel @ dual), rtol=1e-6)


def test_a_picked_pair_lowers_the_covariance_as_a_new_label_of_that_weight_would():
    found = pool()
    posterior = reward_posterior(found, 0.1)
    _, sigma, _ = primal(found, 0.1)
    z, weight = posterior.phi[3], 0.2
    dense = np.linalg.inv(np.linalg.inv(sigma) + weight * np.outer(z, z))
    expected = posterior.phi @ dense @ posterior.phi.T
    np.testing.assert_allclose(
        after_pick(posterior.covariance, 3, weight), expected, rtol=1e-4, atol=1e-5
    )


def test_draws_have_the_posteriors_moments_and_do_not_depend_on_the_order():
    found = pool(n=6)
    posterior = reward_posterior(found)
    drawn = posterior.draws(found.ids, 20000, stream=stream(0, "draws"))
    np.testing.assert_allclose(drawn.mean(0), posterior.mean, atol=0.12)
    np.testing.assert_allclose(np.cov(drawn.T), posterior.covariance, atol=0.5)
    order = stream(1, "order").numpy().permutation(6)
    turned = found._replace(ids=tuple(found.ids[i] for i in order), phi=found.phi[order])
    again = reward_posterior(turned).draws(turned.ids, 3, stream=stream(0, "draws"))
    np.testing.assert_allclose(again, drawn[:3, order], atol=1e-9)


def test_a_prior_that_is_no_precision_is_refused():
    with pytest.raises(ValueError, match="prior must be positive, got 0"):
        reward_posterior(pool(), 0)
