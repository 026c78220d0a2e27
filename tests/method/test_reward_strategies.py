"""The strategies on the Bayesian reward, against their formulas with dense matrices."""

import numpy as np
import pytest
from scipy.special import digamma, expit

from activedpo_lib.method.strategies import STRATEGIES, make_strategy
from activedpo_lib.method.strategies.information import information, shared_information
from activedpo_lib.method.strategies.posterior import expected_weight, reward_posterior
from activedpo_lib.records import Candidates
from activedpo_lib.streams import stream

PRIOR = 0.1


def pool(prompts=12, d=8, k=6, seed=0):
    """Three responses a prompt and all their pairs, each phi a difference of two responses'."""
    rng = stream(seed, "pool").numpy()
    each = rng.standard_normal((prompts, 3, d))
    places = [(0, 1), (0, 2), (1, 2)]
    phi = np.array([each[p, a] - each[p, b] for p in range(prompts) for a, b in places])
    ids = tuple((f"p{p}", a, b) for p in range(prompts) for a, b in places)
    names = tuple(f"p{p}" for p in range(prompts))
    past = rng.standard_normal((k, d))
    return Candidates(
        ids, np.repeat(np.arange(prompts), 3), names, phi=phi, past_phi=past, ridge=1.0
    )


def picks(name, found, count=5, **numbers):
    strategy = make_strategy(name, {"prior": PRIOR} | numbers)
    return strategy.select(found, count, stream=stream(0, "s")).indices.tolist()


def test_the_predicted_gap_is_the_largest_mean():
    found = pool()
    mean = np.abs(reward_posterior(found, PRIOR).mean)
    assert picks("predicted_gap", found) == np.argsort(-mean)[:5].tolist()


def greedy(found, criterion, count=5):
    """One pick after the other, the covariance of the weights inverted anew each time."""
    known = reward_posterior(found, PRIOR)
    z, phi, mean = known.past, known.phi, known.mean
    w = np.linalg.lstsq(phi, mean, rcond=None)[0]
    weights = expit(z @ w) * expit(-z @ w)
    precision = PRIOR * np.eye(phi.shape[1]) + z.T @ (weights[:, None] * z)
    picked = []
    for _ in range(count):
        variance = np.einsum("ij,jk,ik->i", phi, np.linalg.inv(precision), phi)
        values = criterion(mean, variance)
        values[picked] = -np.inf
        at = int(np.argmax(values))
        picked.append(at)
        precision += expected_weight(mean[at], variance[at]) * np.outer(phi[at], phi[at])
    return picked


def test_bald_and_the_upper_confidence_gap_update_the_covariance_in_a_batch():
    found = pool()
    assert picks("bald", found) == greedy(found, information)
    for confidence in (0.0, 1.0, 3.0):
        expected = greedy(found, lambda mean, v, c=confidence: np.abs(mean) + c * np.sqrt(v))
        assert picks("upper_confidence_gap", found, confidence=confidence) == expected


def test_a_novel_gap_is_its_second_moment_times_the_variance_left():
    found = pool()
    known = reward_posterior(found, PRIOR)
    first = np.diagonal(known.covariance)
    moment = known.mean**2 + first
    assert picks("novel_gap", found) == greedy(found, lambda _, v: moment * v / first)


def test_information_is_that_of_a_simulated_label():
    rng = stream(0, "label").numpy()
    mean, variance = np.array([0.0, 1.0, -3.0]), np.array([4.0, 0.5, 1.0])

    def entropy(p):
        return -p * np.log(p) - (1 - p) * np.log(1 - p)

    drawn = expit(mean + np.sqrt(variance) * rng.standard_normal((400_000, 3)))
    expected = entropy(drawn.mean(0)) - entropy(drawn).mean(0)
    np.testing.assert_allclose(information(mean, variance), expected, atol=2e-3)


def test_predicted_improvement_is_the_largest_step_along_the_pools_direction():
    found = pool()
    known = reward_posterior(found, PRIOR)
    direction = sum(mu * phi for mu, phi in zip(known.mean, known.phi, strict=True))
    along = np.abs(known.phi @ direction)
    assert picks("predicted_improvement", found) == np.argsort(-along)[:5].tolist()
    both = picks("improve_and_explore", found, 6)
    assert both[:3] == np.argsort(-along)[:3].tolist()
    assert len(set(both)) == 6


@pytest.mark.parametrize("name", ["predicted_improvement", "improve_and_explore"])
def test_before_any_label_they_are_transductive(name):
    found = pool()._replace(past_phi=None)
    assert picks(name, found) == picks("transductive", found)


def test_max_min_lcb_takes_the_best_worst_case_of_a_prompt_and_its_rival():
    found = pool(prompts=1)
    known = reward_posterior(found, PRIOR)
    deviation = np.sqrt(np.diagonal(known.covariance))
    lower = np.full((3, 3), np.inf)
    for (_, a, b), mean, sd in zip(found.ids, known.mean, deviation, strict=True):
        lower[a, b], lower[b, a] = mean - sd, -mean - sd
    best = int(np.argmax(lower.min(1)))
    rival = int(np.argmin(lower[best]))
    assert picks("max_min_lcb", found, 1) == [found.ids.index(("p0", *sorted((best, rival))))]


def test_thompson_pits_the_best_of_one_draw_against_the_best_or_worst_of_another():
    found = pool(prompts=1)
    known = reward_posterior(found, PRIOR)
    draws = known.draws(found.ids, 2, stream=stream(0, "s").child("draws"))
    totals = np.zeros((2, 3))
    for (_, a, b), gaps in zip(found.ids, draws.T, strict=True):
        totals[:, a] += gaps
        totals[:, b] -= gaps
    best = int(np.argmax(totals[0]))
    others = [at for at in range(3) if at != best]
    for name, choose in (("double_thompson", max), ("reversed_thompson", min)):
        rival = choose(others, key=lambda at: totals[1, at])
        assert picks(name, found, 1) == [found.ids.index(("p0", *sorted((best, rival))))]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_one_prompt_fills_a_batch_larger_than_its_prompts(name):
    found = pool(prompts=2)
    if make_strategy(name, {}).needs == {"phi"}:
        assert sorted(picks(name, found, 6)) == list(range(6))


def with_targets(found, m=4, seed=1):
    targets = stream(seed, "targets").numpy().standard_normal((m, found.phi.shape[1]))
    return found._replace(target_phi=targets)


def test_the_information_that_two_labels_share_is_that_of_simulated_ones():
    rng = stream(0, "labels").numpy()
    root = rng.standard_normal((3, 3))
    mean, covariance = np.array([0.5, -1.0, 0.2]), root @ root.T
    gaps = rng.multivariate_normal(mean, covariance, 400_000)
    wins = expit(gaps)
    for i, j in ((0, 0), (1, 0)):  # of the first two pairs with the third
        p, q = wins[:, i], wins[:, 2]
        joint = np.array([[(p * q).mean(), (p * (1 - q)).mean()], [0, 0]])
        joint[1] = q.mean() - joint[0, 0], 1 - p.mean() - q.mean() + joint[0, 0]
        apart = joint.sum(1)[:, None] * joint.sum(0)[None]
        expected = (joint * np.log(joint / apart)).sum()
        assert shared_information(mean, covariance, 2)[i, j] == pytest.approx(expected, abs=2e-3)


def test_epig_picks_what_tells_most_of_the_held_out_pairs():
    found = with_targets(pool())
    both = np.concatenate([found.phi, found.target_phi])
    known = reward_posterior(found._replace(phi=both), PRIOR)
    z, phi = known.past, known.phi
    w = np.linalg.lstsq(phi, known.mean, rcond=None)[0]
    precision = PRIOR * np.eye(phi.shape[1]) + z.T @ ((expit(z @ w) * expit(-z @ w))[:, None] * z)
    picked = []
    for _ in range(4):
        covariance = phi @ np.linalg.inv(precision) @ phi.T
        told = [
            np.mean(
                [
                    shared_information(known.mean[[i, j]], covariance[np.ix_([i, j], [i, j])], 1)[
                        0, 0
                    ]
                    for j in range(36, 40)
                ]
            )
            for i in range(36)
        ]
        at = int(np.argmax([-1 if i in picked else value for i, value in enumerate(told)]))
        picked.append(at)
        weight = expected_weight(known.mean[at], covariance[at, at])
        precision += weight * np.outer(phi[at], phi[at])
    assert picks("epig", found, 4) == picked


def with_prompts(found, labelled=6):
    rng = stream(2, "prompts").numpy()
    points, past = rng.standard_normal((12, 4)), rng.standard_normal((labelled, 4))
    return found._replace(prompt_hidden=points, past_prompt_hidden=past)


def test_bal_pm_adds_the_labelled_prompts_entropy_to_the_information():
    found, k, share = with_prompts(pool()), 3, 0.7
    points, past = found.prompt_hidden, [*found.past_prompt_hidden]
    known = reward_posterior(found, PRIOR)
    covariance, picked = known.covariance.copy(), []
    everyone = np.concatenate([points, found.past_prompt_hidden])
    reach = [np.sort(np.linalg.norm(everyone - x, axis=1))[k] for x in points]
    for _ in range(5):
        values = information(known.mean, np.diagonal(covariance))
        for row, at in enumerate(found.prompt):
            close = sum(np.linalg.norm(points[at] - x) <= reach[at] for x in past)
            values[row] += share * (np.log(2 * reach[at]) - digamma(close + 1) / 4)
        values[picked] = -np.inf
        best = int(np.argmax(values))
        picked.append(best)
        past.append(points[found.prompt[best]])
        weight = expected_weight(known.mean[best], covariance[best, best])
        row = covariance[best]
        covariance = covariance - np.outer(row, row) * weight / (1 + weight * row[best])
    assert picks("bal_pm", found, 5, prompt_entropy=share, neighbours=k) == picked
    assert len(picks("bal_pm", with_prompts(pool(), 0), 5)) == 5


def test_bal_pm_without_its_entropy_is_bald():
    found = with_prompts(pool())
    assert picks("bal_pm", found, prompt_entropy=0.0) == picks("bald", found)
