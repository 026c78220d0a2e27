"""The strategies on the Bayesian reward, against their formulas with dense matrices."""

import numpy as np
import pytest
from scipy.special import digamma, entr, expit, ndtri

from activedpo_lib.method.strategies import STRATEGIES, make_strategy
from activedpo_lib.method.strategies.information import information, shared_information
from activedpo_lib.method.strategies.posterior import expected_weight
from activedpo_lib.records import Candidates
from activedpo_lib.streams import stream

PRIOR = 0.1
SAME = {(3, 0, 1), (3, 1, 2), (5, 0, 1)}  # responses that were the same are no pair


def pool(prompts=12, d=8, k=6, same=()):
    """Three responses a prompt and their pairs, each phi a difference of two responses'."""
    rng = stream(0, "pool").numpy()
    each = rng.standard_normal((prompts, 3, d))
    every = [(p, *pair) for p in range(prompts) for pair in ((0, 1), (0, 2), (1, 2))]
    prompt, first, second = np.array([key for key in every if key not in same]).T
    names = tuple(f"p{p}" for p in range(prompts))
    ids = tuple((names[p], a, b) for p, a, b in every if (p, a, b) not in same)
    phi, past = each[prompt, first] - each[prompt, second], rng.standard_normal((k, d))
    asked, before = rng.standard_normal((prompts, 4)), rng.standard_normal((k, 4))
    more = {"prompt_hidden": asked, "past_prompt_hidden": before}
    more["target_phi"] = rng.standard_normal((4, d))
    return Candidates(ids, prompt, names, phi=phi, past_phi=past, ridge=1.0, **more)


def picks(name, found, count=5, **numbers):
    strategy = make_strategy(name, {"prior": PRIOR} | numbers)
    return strategy.select(found, count, stream=stream(0, "s")).indices.tolist()


def primal(found):
    """(phi, w, precision of w) of the Laplace approximation in the weights' own space, d x d."""
    unit = np.sqrt(np.square(found.phi).sum(1).mean())
    phi, z = found.phi / unit, found.past_phi / unit
    w = np.zeros(phi.shape[1])
    for _ in range(50):  # Newton
        p = expit(z @ w)
        precision = PRIOR * np.eye(len(w)) + z.T @ ((p * (1 - p))[:, None] * z)
        w = w + np.linalg.solve(precision, z.T @ (1 - p) - PRIOR * w)
    return phi, w, precision


def greedy(found, criterion, count=5):
    """Pick after pick by criterion(gaps' mean, their covariance, picks); each inverse anew."""
    phi, w, precision = primal(found)
    mean, picked = phi @ w, []
    for _ in range(count):
        covariance = phi @ np.linalg.inv(precision) @ phi.T
        values = criterion(mean, covariance, picked)
        values[picked] = -np.inf
        at = int(np.argmax(values))
        picked.append(at)
        precision += expected_weight(mean[at], covariance[at, at]) * np.outer(phi[at], phi[at])
    return picked


def draws(found, count):
    """Draws of the gaps: the named noise, through singular values in eigenvectors' place."""
    phi, w, precision = primal(found)
    left, sizes, _ = np.linalg.svd(phi @ np.linalg.cholesky(np.linalg.inv(precision)), False)
    names = stream(0, "s").child("draws")
    noise = (ndtri(names.child(t).uniforms(found.ids)) for t in range(count))
    return [phi @ w + left @ (sizes * (left.T @ each)) for each in noise]


def test_the_predicted_gap_is_the_largest_mean():
    assert picks("predicted_gap", pool()) == greedy(pool(), lambda mean, *_: np.abs(mean))


def test_bald_and_the_upper_confidence_gap_update_the_covariance_in_a_batch():
    expected = greedy(pool(), lambda mean, of, _: information(mean, np.diagonal(of)))
    assert picks("bald", pool()) == expected
    for c in (0.0, 1.0, 3.0):
        expected = greedy(pool(), lambda mean, of, _, c=c: abs(mean) + c * np.diagonal(of) ** 0.5)
        assert picks("upper_confidence_gap", pool(), confidence=c) == expected


def test_a_novel_gap_is_its_second_moment_times_the_variance_left():
    phi, w, precision = primal(pool())
    first = np.diagonal(phi @ np.linalg.inv(precision) @ phi.T)
    moment = (phi @ w) ** 2 + first
    expected = greedy(pool(), lambda _, of, __: moment * np.diagonal(of) / first)
    assert picks("novel_gap", pool()) == expected


def test_information_is_that_of_a_simulated_label():
    rng = stream(0, "label").numpy()
    mean, variance = np.array([0.0, 1.0, -3.0]), np.array([4.0, 0.5, 1.0])
    won = expit(mean + np.sqrt(variance) * rng.standard_normal((400_000, 3)))
    expected = sum(entr(p.mean(0)) - entr(p).mean(0) for p in (won, 1 - won))
    np.testing.assert_allclose(information(mean, variance), expected, atol=2e-3)


def along(phi, gaps):
    """|phi_i . g^| of every pair, g^ the sum of gap times phi."""
    return np.abs(phi @ sum(gap * x for gap, x in zip(gaps, phi, strict=True)))


def test_predicted_improvement_is_the_largest_step_along_the_pools_direction():
    found = pool()
    phi, w, _ = primal(found)
    assert picks("predicted_improvement", found) == np.argsort(-along(phi, phi @ w))[:5].tolist()


def test_uncertainty_alone_is_the_largest_standard_deviation_updated_in_a_batch():
    expected = greedy(pool(), lambda _, of, __: np.diagonal(of) ** 0.5)
    assert picks("uncertainty_alone", pool()) == expected


def test_own_gaps_are_predicted_gaps_picks_after_another_start():
    assert picks("improvement_own_gaps", pool()) == picks("predicted_gap", pool())
    start = pool()._replace(past_phi=None)
    assert picks("improvement_own_gaps", start) != picks("predicted_gap", start)


def test_random_signs_keep_the_gaps_sizes_and_take_a_coin_for_each_pairs_side():
    found = pool()
    phi, w, _ = primal(found)
    heads = stream(0, "s").child("signs").uniforms(found.ids) < 0.5
    gaps = [abs(gap) if head else -abs(gap) for gap, head in zip(phi @ w, heads, strict=True)]
    assert picks("improvement_random_signs", found) == np.argsort(-along(phi, gaps))[:5].tolist()
    assert 0 < sum(heads) < len(heads)


def test_the_last_labels_are_those_of_the_last_batch():
    found = pool(k=15)
    whole, ablated = "predicted_improvement", "improvement_last_labels"
    last = found._replace(past_phi=found.past_phi[10:])
    assert picks(ablated, found) == picks(whole, last) != picks(whole, found)
    assert picks(ablated, last) == picks(whole, last)  # where there are no others


def test_a_random_start_is_randoms_and_what_follows_predicted_improvements():
    found, start = pool(), pool()._replace(past_phi=None)
    assert picks("improvement_random_start", start) == picks("random", start)
    assert picks("improvement_random_start", found) == picks("predicted_improvement", found)


def test_each_pick_of_improvement_thompson_is_the_best_of_a_draw_of_its_own():
    found, picked = pool(k=40), []
    for gaps in draws(found, 6):
        values = along(primal(found)[0], gaps)
        picked.append(max(set(range(len(values))) - set(picked), key=lambda at: values[at]))
    assert picks("improvement_thompson", found, 6) == picked
    assert picked != picks("predicted_improvement", found, 6)


@pytest.mark.parametrize("ridge", [0.1, 1.0])
def test_the_second_half_of_improve_and_explore_most_lowers_what_g_does_not_explain(ridge):
    found = pool()
    phi, w, _ = primal(found)
    first = np.argsort(-along(phi, phi @ w))[:3].tolist()
    g = phi.T @ (phi @ w)
    across = np.eye(len(g)) - np.outer(g, g) / (g @ g)  # takes the part along g^ away
    rest, seen = (
        x @ across / np.linalg.norm(x @ across, axis=1)[:, None] for x in (phi, found.past_phi)
    )
    V = ridge * np.eye(len(g)) + seen.T @ seen + rest[first].T @ rest[first]
    left = [at for at in range(len(phi)) if at not in first]

    def mean_variance(at):
        after = np.linalg.inv(V + np.outer(rest[at], rest[at]))
        return np.mean([rest[i] @ after @ rest[i] for i in left])

    second = []
    for _ in range(4):
        second.append(min(set(left) - set(second), key=mean_variance))
        V += np.outer(rest[second[-1]], rest[second[-1]])
    assert picks("improve_and_explore", found, 7, ridge=ridge) == first + second


@pytest.mark.parametrize(
    "name",
    [
        "predicted_improvement",
        "improve_and_explore",
        "improvement_own_gaps",
        "improvement_random_signs",
        "improvement_last_labels",
    ],
)
def test_before_any_label_they_are_transductive(name):
    found = pool()._replace(past_phi=None)
    assert picks(name, found) == picks("transductive", found)


def tables(found, values, turned):
    """{prompt: {(a, b): a pair's value}}; (b, a) has `turned` times it."""
    said = {}
    for (p, a, b), value in zip(found.ids, values, strict=True):
        said.setdefault(p, {}).update({(a, b): value, (b, a): turned * value})
    return said


def asked(found, duels):
    """The rows of the duels (prompt, a, b) in their order, then the others by their ties."""
    rows = [found.ids.index((p, min(a, b), max(a, b))) for p, a, b in duels]
    others = np.argsort(stream(0, "s").uniforms(found.ids)).tolist()
    return rows + [row for row in others if row not in rows]


def duel(gaps, spread, confidence):
    """(a, b) of one prompt: the response of the best worst case, and the rival in that case."""
    lower = {pair: gap - confidence * spread[pair] for pair, gap in gaps.items()}
    worst = {a: min((lower[x, b], b) for x, b in lower if x == a) for a, _ in lower}
    best = max(worst, key=lambda a: worst[a][0])
    return best, worst[best][1]


@pytest.mark.parametrize("confidence", [0.0, 1.0, 3.0])
def test_max_min_lcb_asks_the_least_sure_of_the_prompts_best_worst_cases_one_after_another(
    confidence,
):
    found, written_out = pool(same=SAME), []
    phi, w, precision = primal(found)
    gaps = tables(found, phi @ w, -1)
    while len(written_out) < len(gaps):
        variance = np.array([x @ np.linalg.inv(precision) @ x for x in phi])
        spread, rows = tables(found, np.sqrt(variance), 1), []
        asked_of = {found.ids[row][0] for row in written_out}
        for p in set(gaps) - asked_of:
            a, b = duel(gaps[p], spread[p], confidence)
            rows.append(found.ids.index((p, min(a, b), max(a, b))))
        at = max(rows, key=lambda row: variance[row])
        written_out.append(at)
        weight = expected_weight(phi[at] @ w, variance[at])
        precision = precision + weight * np.outer(phi[at], phi[at])
    assert picks("max_min_lcb", found, len(gaps), confidence=confidence) == written_out


def test_max_min_lcb_goes_on_with_any_pair_once_every_prompt_has_one():
    found = pool(prompts=3)
    every = picks("max_min_lcb", found, len(found.ids))
    assert sorted(every) == list(range(len(found.ids)))
    assert {found.ids[row][0] for row in every[:3]} == {row[0] for row in found.ids}


@pytest.mark.parametrize("name, against", [("double_thompson", max), ("reversed_thompson", min)])
def test_thompson_pits_the_best_of_one_draw_against_the_best_or_worst_of_another(name, against):
    found, duels = pool(k=40, same=SAME), []
    first, second = (tables(found, gaps, -1) for gaps in draws(found, 2))
    for p, *both in zip(first, first.values(), second.values(), strict=True):
        totals = [{a: sum(v for (x, _), v in of.items() if x == a) for a, _ in of} for of in both]
        best = max(totals[0], key=totals[0].get)
        rivals = [b for a, b in first[p] if a == best]
        duels.append((p, best, against(rivals, key=totals[1].get)))
    order = stream(0, "s").child("prompts")
    duels.sort(key=lambda duel: order.uniforms([(duel[0], *sorted(duel[1:]))])[0])
    for count in (5, 15):  # of 12 prompts
        assert picks(name, found, count) == asked(found, duels)[:count]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_one_prompt_fills_a_batch_larger_than_its_prompts(name):
    found = pool(prompts=2)
    if make_strategy(name, {}).needs == {"phi"}:
        assert sorted(picks(name, found, 6)) == list(range(6))


def test_the_information_that_two_labels_share_is_that_of_simulated_ones():
    rng = stream(0, "labels").numpy()
    root = rng.standard_normal((3, 3))
    mean, covariance = np.array([0.5, -1.0, 0.2]), root @ root.T
    wins = expit(rng.multivariate_normal(mean, covariance, 400_000))
    for i in (0, 1):  # with the third
        p, q = wins[:, i], wins[:, 2]
        joint = np.array([[np.mean(x * y) for y in (q, 1 - q)] for x in (p, 1 - p)])
        expected = (joint * np.log(joint / np.outer(joint.sum(1), joint.sum(0)))).sum()
        assert shared_information(mean, covariance, 2)[i, 0] == pytest.approx(expected, abs=2e-3)


def test_epig_picks_what_tells_most_of_the_held_out_pairs():
    found = pool()
    both = found._replace(phi=np.concatenate([found.phi, found.target_phi]))

    def told(mean, of, _):
        each = [
            shared_information(mean[[i, j]], of[np.ix_([i, j], [i, j])], 1)[0, 0]
            for i in range(36)
            for j in range(36, 40)
        ]
        return np.reshape(each, (36, 4)).mean(1)

    assert picks("epig", found, 4) == greedy(both, told, 4)


def test_bal_pm_adds_the_labelled_prompts_entropy_to_the_information():
    found, k, share = pool(), 3, 0.7
    points, past = found.prompt_hidden, found.past_prompt_hidden
    everyone = np.concatenate([points, past])
    reach = [np.sort(np.linalg.norm(everyone - x, axis=1))[k] for x in points]

    def told(mean, of, picked):
        values = information(mean, np.diagonal(of))
        labelled = [*past, *(points[found.prompt[at]] for at in picked)]
        for row, at in enumerate(found.prompt):
            close = sum(np.linalg.norm(points[at] - x) <= reach[at] for x in labelled)
            values[row] += share * (np.log(2 * reach[at]) - digamma(close + 1) / 4)
        return values

    assert picks("bal_pm", found, prompt_entropy=share, neighbours=k) == greedy(found, told)
    assert len(picks("bal_pm", found._replace(past_prompt_hidden=past[:0]))) == 5


def test_bal_pm_without_its_entropy_is_bald():
    assert picks("bal_pm", pool(), prompt_entropy=0.0) == picks("bald", pool())
