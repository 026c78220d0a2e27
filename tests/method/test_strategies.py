"""The contract of every strategy, and the baselines against direct formulas."""

import numpy as np
import pytest

from activedpo_lib.method.logps import predictive_entropy
from activedpo_lib.method.strategies import STRATEGIES, make_strategy
from activedpo_lib.records import Candidates
from activedpo_lib.schema import SelectionParams
from activedpo_lib.streams import stream

SETTINGS = vars(SelectionParams(shortlist=0.5))


def candidates(prompts=10, seed=0, ties=False):
    """A pool of 3 pairs a prompt with every column measured; `ties` makes all pairs look alike."""
    rng = stream(seed, "columns").numpy()
    n = 3 * prompts
    phi = np.ones((n, 6)) if ties else rng.standard_normal((n, 6))
    return Candidates(
        ids=tuple((f"p{i // 3}", *((0, 1), (0, 2), (1, 2))[i % 3]) for i in range(n)),
        prompt=np.repeat(np.arange(prompts), 3),
        prompt_ids=tuple(f"p{i}" for i in range(prompts)),
        phi=phi.astype(np.float32),
        past_phi=rng.standard_normal((4, 6)).astype(np.float32),
        margin=np.zeros(n) if ties else rng.standard_normal(n),
        entropy=np.ones(prompts) if ties else rng.random(prompts),
        hidden=(np.ones((n, 5)) if ties else rng.standard_normal((n, 5))).astype(np.float32),
        past_hidden=rng.standard_normal((4, 5)).astype(np.float32),
        prompt_hidden=np.ones((prompts, 5)) if ties else rng.standard_normal((prompts, 5)),
        past_prompt_hidden=rng.standard_normal((4, 5)),
        target_phi=rng.standard_normal((7, 6)),
        ridge=1.0,
    )


def shuffled(found, order):
    """The same candidates with pairs and prompts in another order."""
    prompt_order = stream(9, "prompts").numpy().permutation(len(found.prompt_ids))
    place = np.argsort(prompt_order)
    rows = {name: getattr(found, name)[order] for name in ("phi", "margin", "hidden")}
    return found._replace(
        **rows,
        ids=tuple(found.ids[i] for i in order),
        prompt=place[found.prompt[order]],
        prompt_ids=tuple(found.prompt_ids[i] for i in prompt_order),
        entropy=found.entropy[prompt_order],
        prompt_hidden=found.prompt_hidden[prompt_order],
    )


def picks(name, found, count):
    strategy = make_strategy(name, SETTINGS)
    return strategy.select(found, count, stream=stream(0, "s")).indices.tolist()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", STRATEGIES)
def test_picks_are_distinct_seeded_and_independent_of_the_pools_order(name, ties):
    strategy, found = make_strategy(name, SETTINGS), candidates(ties=ties)
    picked = strategy.select(found, 5, stream=stream(0, "select"))
    assert len(set(picked.indices.tolist())) == 5
    assert picked.scores.shape == (5,)
    again = strategy.select(found, 5, stream=stream(0, "select"))
    assert picked.indices.tolist() == again.indices.tolist()
    order = stream(3, "order").numpy().permutation(len(found.ids))
    turned = strategy.select(shuffled(found, order), 5, stream=stream(0, "select"))
    assert [found.ids[i] for i in picked.indices] == [found.ids[order[i]] for i in turned.indices]


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_read_only_what_they_say_they_need(name):
    strategy, found = make_strategy(name, SETTINGS), candidates()
    measured = {
        "phi": ("phi", "past_phi", "ridge"),
        "margin": ("margin",),
        "entropy": ("entropy",),
        "hidden": ("hidden", "past_hidden"),
        "prompt_hidden": ("prompt_hidden", "past_prompt_hidden"),
        "target_phi": ("target_phi",),
    }
    hidden = {
        column: None
        for need, columns in measured.items()
        if need not in strategy.needs
        for column in columns
    }
    assert len(strategy.select(found._replace(**hidden), 4, stream=stream(0, "s")).indices) == 4


def test_random_is_uniform():
    counts = np.zeros(30)
    for seed in range(600):
        counts[
            make_strategy("random", SETTINGS)
            .select(candidates(), 5, stream=stream(seed, "s"))
            .indices
        ] += 1
    expected = 600 * 5 / 30
    assert (
        np.square(counts - expected).sum() / expected < 58.3
    )  # chi-square, 29 degrees of freedom, p = 0.001


def test_apo_picks_the_largest_norms_at_once():
    found = candidates()
    V = 1e-5 * np.eye(5) + found.past_hidden.astype(float).T @ found.past_hidden.astype(float)
    norms = np.einsum(
        "nd,de,ne->n", found.hidden.astype(float), np.linalg.inv(V), found.hidden.astype(float)
    )
    picked = make_strategy("apo", SETTINGS).select(found, 7, stream=stream(0, "s"))
    assert picked.indices.tolist() == np.argsort(-norms)[:7].tolist()
    np.testing.assert_allclose(np.square(picked.scores), norms[picked.indices], rtol=1e-5)


def test_aplp_takes_high_entropy_prompts_then_large_margins_one_a_prompt():
    found = candidates()
    picked = make_strategy("aplp", SETTINGS).select(found, 3, stream=stream(0, "s"))
    kept = np.argsort(-found.entropy)[:5]  # half of ten prompts
    best = {
        p: max(np.flatnonzero(found.prompt == p), key=lambda i: abs(found.margin[i])) for p in kept
    }
    truth = sorted(best.values(), key=lambda i: -abs(found.margin[i]))[:3]
    assert picked.indices.tolist() == truth


def test_entropy_takes_one_pair_of_each_of_the_most_uncertain_prompts():
    found = candidates()
    picked = make_strategy("entropy", SETTINGS).select(found, 4, stream=stream(0, "s"))
    assert found.prompt[picked.indices].tolist() == np.argsort(-found.entropy)[:4].tolist()


def test_margin_and_certainty_are_the_two_ends():
    found = candidates()
    order = np.argsort(np.abs(found.margin))
    assert (
        make_strategy("margin", SETTINGS).select(found, 4, stream=stream(0, "s")).indices.tolist()
        == order[:4].tolist()
    )
    assert (
        make_strategy("certainty", SETTINGS)
        .select(found, 4, stream=stream(0, "s"))
        .indices.tolist()
        == order[::-1][:4].tolist()
    )


def test_gradient_norm_is_activedpo_without_v():
    found = candidates()
    norms = np.linalg.norm(found.phi, axis=1)
    picked = make_strategy("gradient_norm", SETTINGS).select(found, 6, stream=stream(0, "s"))
    assert picked.indices.tolist() == np.argsort(-norms)[:6].tolist()


def test_d_optimals_ridge_is_absolute_where_d2_says_so():
    """A huge absolute ridge leaves the norm alone to decide; the same number relative does not
    mean the same V_0.
    """
    found = candidates()
    weight = 1 / (1 + np.exp(-found.margin))
    norms = np.linalg.norm(found.hidden, axis=1) * np.sqrt(weight * (1 - weight))
    absolute = make_strategy("d_optimal", {"ridge": 1e9, "ridge_is": "absolute"})
    picked = absolute.select(found, 5, stream=stream(0, "s"))
    assert picked.indices.tolist() == np.argsort(-norms)[:5].tolist()
    np.testing.assert_allclose(picked.scores, norms[picked.indices] / np.sqrt(1e9), rtol=1e-4)


def test_d_optimal_is_greedy_log_det_of_the_weighted_hidden_states():
    found = candidates()
    weight = 1 / (1 + np.exp(-found.margin))
    phi = found.hidden.astype(float) * np.sqrt(weight * (1 - weight))[:, None]
    V = (
        np.square(phi).sum(1).mean() * np.eye(5)
        + found.past_hidden.T.astype(float) @ found.past_hidden / 4
    )
    truth = []
    for _ in range(5):
        gains = [
            -np.inf if i in truth else np.linalg.slogdet(V + np.outer(x, x))[1]
            for i, x in enumerate(phi)
        ]
        truth.append(int(np.argmax(gains)))
        V += np.outer(phi[truth[-1]], phi[truth[-1]])
    assert (
        make_strategy("d_optimal", SETTINGS)
        .select(found, 5, stream=stream(0, "s"))
        .indices.tolist()
        == truth
    )


def test_k_center_takes_the_farthest_from_all_known():
    found = candidates()
    known, truth = list(found.past_phi.astype(float)), []
    for _ in range(5):
        distance = [
            -1 if i in truth else min(np.linalg.norm(x - k) for k in known)
            for i, x in enumerate(found.phi.astype(float))
        ]
        truth.append(int(np.argmax(distance)))
        known.append(found.phi[truth[-1]].astype(float))
    assert (
        make_strategy("k_center", SETTINGS).select(found, 5, stream=stream(0, "s")).indices.tolist()
        == truth
    )


def test_transductive_lowers_the_pools_mean_variance_most():
    found = candidates()
    unit, past = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (found.phi.astype(float), found.past_phi.astype(float))
    )
    V, truth = np.eye(6) + past.T @ past, []

    def mean_variance(V):
        return np.einsum("nd,de,ne->n", unit, np.linalg.inv(V), unit).mean()

    for _ in range(5):
        after = [
            np.inf if i in truth else mean_variance(V + np.outer(x, x)) for i, x in enumerate(unit)
        ]
        truth.append(int(np.argmin(after)))
        V += np.outer(unit[truth[-1]], unit[truth[-1]])
    assert (
        make_strategy("transductive", SETTINGS)
        .select(found, 5, stream=stream(0, "s"))
        .indices.tolist()
        == truth
    )


def test_entropy_is_minus_the_mean_log_probability_of_a_prompts_own_samples():
    logps, prompt_index = np.array([-3.0, -5.0, -1.0, -2.0, -6.0]), np.array([0, 0, 1, 1, 1])
    np.testing.assert_allclose(predictive_entropy(logps, prompt_index, 2), [4.0, 3.0])


def test_activedpo_forbids_a_prompt_twice_where_d13_says_so():
    settings = {"repeat_prompts": False}
    picked = make_strategy("activedpo", settings).select(candidates(), 10, stream=stream(0, "s"))
    assert len(set(candidates().prompt[picked.indices])) == 10


def test_an_unknown_strategy_lists_the_known_ones():
    with pytest.raises(
        ValueError,
        match=r"no strategy 'activdpo'; known are .*'activedpo', 'aplp', 'apo', .*'transductive'",
    ):
        make_strategy("activdpo", SETTINGS)


def test_strategies_that_need_all_gradients_in_one_process_say_so(tmp_path):
    from activedpo_lib.params import load_params
    from activedpo_lib.runs.run import open_run

    for name, factory in STRATEGIES.items():
        needs, shares = factory().needs, factory().shares
        assert shares == (name == "activedpo")
        if "phi" in needs and not shares:
            params = load_params("smoke", strategy=name, overrides={"processes": 2})
            with pytest.raises(
                ValueError,
                match=f"the strategy {name} needs the whole pool's gradients in one process",
            ):
                open_run(params, 0, tmp_path)
