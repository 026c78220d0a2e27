"""The columns that strategies read, against direct formulas."""

import numpy as np
import pytest
import torch
from conftest import make_policy

from activedpo_lib.method.candidates import COLUMNS, Reader, measure, pair_features, sequences
from activedpo_lib.method.generation import generate, without_labelled
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import response_logps
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import FeatureRule, Features, LabelledPair, Past, Sampling
from activedpo_lib.runs.meetings import check_pairs
from activedpo_lib.shards import SingleProcess
from activedpo_lib.streams import stream

SAMPLING = Sampling(3, 8)
NEEDS = frozenset({"phi", "margin", "entropy", "hidden"})
SEED = stream(0, "projection").seed


@pytest.fixture
def pool(tokenizer, prompts):
    return generate(make_policy(), tokenizer, prompts, SAMPLING, stream=stream(0, "g"))


def labelled_from(pool, rows):
    pairs = [pool.pair(row) for row in rows]
    return tuple(LabelledPair(p.prompt, p.prompt_tokens, p.first, p.second, 1) for p in pairs)


def measured(pool, tokenizer, labelled=(), policy=None, samples=None, **rule):
    rule = FeatureRule(**({"dimensions": 64, "seed": SEED} | rule))
    reader = Reader(policy or make_policy(), tokenizer, rule, 0.1, samples, stream(0, "e"))
    return measure(pool, NEEDS, Past(labelled), reader)


@pytest.mark.parametrize("when", ["after", "before"])
def test_d4_and_d8_normalise_what_they_say(when):
    rng = np.random.default_rng(0)
    features = Features(rng.standard_normal((4, 6)), np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4))
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
    features = Features(np.zeros((2, 3)), np.zeros(2), np.ones(2))
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
    extra = measured(pool, tokenizer, samples=Sampling(64, 8)).entropy
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


def test_prompts_hidden_states_are_pi_sfts_at_their_last_tokens(pool, tokenizer):
    policy, past = make_policy(), Past(labelled_from(pool, [3, 0]))
    found = measure(pool, frozenset({"prompt_hidden"}), past, Reader(policy, tokenizer))
    asked = [*pool.prompt_tokens, *(pair.prompt_tokens for pair in past.labelled)]
    with policy.disable_adapter(), torch.no_grad():
        decoder = policy.get_base_model().model
        states = [decoder(input_ids=torch.tensor([x])).last_hidden_state[0, -1] for x in asked]
    both = np.concatenate([found.prompt_hidden, found.past_prompt_hidden])
    np.testing.assert_allclose(both, np.stack(states), atol=1e-4)


def test_target_features_are_those_of_the_held_out_pool_by_phis_own_rule(pool, tokenizer, prompts):
    policy = make_policy()
    held_out = generate(policy, tokenizer, prompts[:2], Sampling(3, 8), stream=stream(5, "targets"))
    reader = Reader(policy, tokenizer, targets=held_out)
    found = measure(pool, frozenset({"phi", "target_phi"}), Past(), reader)
    truth = measure(held_out, frozenset({"phi"}), Past(), Reader(policy, tokenizer)).phi
    np.testing.assert_allclose(found.target_phi, truth, atol=1e-5)
    assert len(found.phi) == len(pool.pairs)


def test_epig_without_held_out_prompts_says_what_to_set(pool, tokenizer):
    with pytest.raises(ValueError, match=r"set selection\.target_prompts to 1 or more"):
        measure(pool, frozenset({"target_phi"}), Past(), Reader(make_policy(), tokenizer))


def test_labelled_pairs_are_left_out_of_the_pool(pool):
    labelled = labelled_from(pool, [0, 5])
    again = without_labelled(pool, labelled)
    assert len(again.pairs) == len(pool.pairs) - 2


def test_a_pool_without_pairs_says_what_to_do(tokenizer, prompts):
    cold = Sampling(3, 8, temperature=1e-3)
    pool = generate(make_policy(), tokenizer, prompts, cold, stream=stream(0, "g"))
    with pytest.raises(
        ValueError, match="has no pair to label: the policy writes one response to each prompt"
    ):
        check_pairs(pool, prompts, SingleProcess())


def test_only_needed_columns_are_measured(pool, tokenizer):
    found = measure(pool, frozenset({"margin"}), Past(), Reader(make_policy(), tokenizer))
    assert found.phi is None
    assert found.hidden is None
    assert found.entropy is None


def test_a_column_of_ones_own_is_one_entry(pool, tokenizer, monkeypatch):
    def overlap(pool, past, reader):
        words = [set(response.tokens) for response in pool.responses]
        return {"overlap": np.array([len(words[a] & words[b]) for a, b in pool.pairs])}

    monkeypatch.setitem(COLUMNS, "overlap", overlap)
    found = measure(pool, frozenset({"overlap"}), Past(), Reader(make_policy(), tokenizer))
    assert found.own["overlap"].shape == (len(pool.pairs),)
    assert found.own["overlap"].max() > found.own["overlap"].min()


def test_an_unknown_column_names_the_known_ones(pool, tokenizer):
    with pytest.raises(ValueError, match=r"no column 'gradients'; known are \['entropy', 'hidden'"):
        measure(pool, frozenset({"gradients"}), Past(), Reader(make_policy(), tokenizer))


def test_the_pools_logps_are_read_once_for_margin_and_entropy(pool, tokenizer, monkeypatch):
    from activedpo_lib.method import candidates

    calls, real = [], candidates.response_logps
    monkeypatch.setattr(candidates, "response_logps", lambda *a: calls.append(1) or real(*a))
    measure(pool, frozenset({"margin", "entropy"}), Past(), Reader(make_policy(), tokenizer))
    assert len(calls) == 1


def test_v_remembers_its_ridge_and_kept_features(pool, tokenizer):
    kept = np.ones((2, 64), dtype=np.float32)
    rule = FeatureRule(dimensions=64, past="keep")
    past = Past(labelled_from(pool, [3, 0]), kept, 0.25)
    found = measure(pool, frozenset({"phi"}), past, Reader(make_policy(), tokenizer, rule))
    assert found.ridge == 0.25
    assert found.past_phi is kept
