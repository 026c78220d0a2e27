"""The columns that strategies read, against direct formulas."""

import numpy as np
import pytest
import torch
from conftest import make_policy

from activedpo_lib.method.candidates import make_pool, measure, pair_features, sequences
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import response_logps
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Features, LabelledPair
from activedpo_lib.schema import GenerationParams, SelectionParams
from activedpo_lib.streams import stream

GENERATION = GenerationParams()
NEEDS = {"phi", "margin", "entropy", "hidden"}


@pytest.fixture
def pool(tokenizer, prompts):
    return make_pool(make_policy(), tokenizer, prompts, stream(0, "g"), GENERATION, 8)


def labelled_from(pool, rows):
    pairs = [pool.pair(row) for row in rows]
    return tuple(LabelledPair(p.prompt, p.prompt_tokens, p.first, p.second, 1) for p in pairs)


def measured(pool, tokenizer, labelled=(), policy=None, **settings):
    extra = {"stream": stream(0, "e"), "max_new_tokens": 8}
    settings = SelectionParams(**({"dimensions": 64} | settings))
    policy = policy or make_policy()
    return measure(
        policy,
        tokenizer,
        pool,
        NEEDS,
        labelled,
        settings,
        stream(0, "projection"),
        0.1,
        entropy=extra,
    )


@pytest.mark.parametrize("when", ["after", "before"])
def test_d4_and_d8_normalise_what_they_say(when):
    rng = np.random.default_rng(0)
    features = Features(rng.standard_normal((4, 6)), np.array([1.0, 2.0, 3.0, 4.0]))
    pairs = np.array([[0, 1], [2, 3]])
    norm = features.norm if when == "before" else np.linalg.norm(features.phi, axis=1)
    unit = features.phi / norm[:, None]
    np.testing.assert_allclose(
        pair_features(features, pairs, "response", when), unit[[0, 2]] - unit[[1, 3]]
    )
    raw = features.phi[[0, 2]] - features.phi[[1, 3]]
    np.testing.assert_allclose(pair_features(features, pairs, "none", when), raw)
    np.testing.assert_allclose(
        np.linalg.norm(pair_features(features, pairs, "pair", "after"), axis=1), 1.0
    )


def test_twins_have_a_zero_feature_and_no_nan():
    features = Features(np.zeros((2, 3)), np.zeros(2))
    for normalise in ("response", "pair", "none"):
        assert not pair_features(features, np.array([[0, 1]]), normalise, "after").any()


def test_phi_is_the_difference_of_the_responses_features(pool, tokenizer):
    found = measured(pool, tokenizer, normalise="none")
    policy = make_policy()
    projection = make_projection("fold", 64, stream(0, "projection").seed, gradient_shapes(policy))
    truth = response_features(policy, *sequences(pool), projection).phi
    np.testing.assert_allclose(
        found.phi, truth[pool.pairs[:, 0]] - truth[pool.pairs[:, 1]], atol=1e-4
    )


def test_d2_sets_the_ridge_relative_to_the_pool_or_absolutely(pool, tokenizer):
    found = measured(pool, tokenizer, ridge=0.5)
    assert found.ridge == pytest.approx(0.5 * np.square(found.phi).sum(1).mean(), rel=1e-5)
    assert measured(pool, tokenizer, ridge=0.5, ridge_is="absolute").ridge == 0.5


def test_past_features_are_those_of_the_labelled_pairs(pool, tokenizer):
    rows = [3, 0, 7]
    found = measured(pool, tokenizer, labelled_from(pool, rows))
    np.testing.assert_allclose(found.past_phi, found.phi[rows], atol=1e-4)
    np.testing.assert_allclose(found.past_hidden, found.hidden[rows], atol=1e-4)


def test_margins_are_differences_of_implicit_rewards(pool, tokenizer):
    policy = make_policy()
    ours = response_logps(policy, *sequences(pool))
    with policy.disable_adapter():
        theirs = response_logps(policy, *sequences(pool))
    reward = 0.1 * (ours - theirs)
    truth = reward[pool.pairs[:, 0]] - reward[pool.pairs[:, 1]]
    np.testing.assert_allclose(measured(pool, tokenizer).margin, truth, atol=1e-5)
    assert np.abs(truth).max() > 1e-3


def test_entropy_is_over_the_pools_own_or_extra_samples(pool, tokenizer):
    logps = response_logps(make_policy(), *sequences(pool)).reshape(-1, 3)
    np.testing.assert_allclose(measured(pool, tokenizer).entropy, -logps.mean(1), rtol=1e-5)
    extra = measured(pool, tokenizer, entropy_samples=64).entropy
    assert extra.shape == (len(pool.prompts),)
    assert np.abs(extra + logps.mean(1)).max() > 0.1


def test_hidden_states_are_pi_sfts_at_the_last_response_token(pool, tokenizer):
    policy = make_policy()
    prompts, responses = sequences(pool)
    with policy.disable_adapter():
        states = []
        for prompt, response in zip(prompts, responses, strict=True):
            out = policy.get_base_model().model(input_ids=torch.tensor([prompt + response]))
            states.append(out.last_hidden_state[0, -1].detach().numpy())
    states = np.stack(states)
    found = measured(pool, tokenizer, policy=policy).hidden
    np.testing.assert_allclose(
        found, states[pool.pairs[:, 0]] - states[pool.pairs[:, 1]], atol=1e-4
    )


def test_labelled_pairs_are_left_out_of_the_pool(pool, tokenizer, prompts):
    labelled = labelled_from(pool, [0, 5])
    again = make_pool(make_policy(), tokenizer, prompts, stream(0, "g"), GENERATION, 8, labelled)
    assert len(again.pairs) == len(pool.pairs) - 2


def test_a_pool_without_pairs_says_what_to_do(tokenizer, prompts):
    cold = GenerationParams(temperature=1e-3)
    with pytest.raises(
        ValueError, match="has no pair to label: the policy writes one response to each prompt"
    ):
        make_pool(make_policy(), tokenizer, prompts, stream(0, "g"), cold, 8)


def test_only_needed_columns_are_measured(pool, tokenizer):
    found = measure(
        make_policy(), tokenizer, pool, frozenset({"margin"}), (), SelectionParams(), stream(0, "p")
    )
    assert found.phi is None
    assert found.hidden is None
    assert found.entropy is None
