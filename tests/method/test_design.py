import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from activedpo_lib.method.design import select_greedy, uncertainty
from activedpo_lib.streams import stream
from benchmarks.mapped import Counting
from benchmarks.references import full_dual


def pool(n=40, d=12, seed=0):
    return stream(seed, "phi").numpy().standard_normal((n, d))


def explicit_inverse(phi, batch_size, ridge, past=None):
    """The slower truth: V formed and inverted anew for every pick (Eq. 3, Eq. 4)."""
    V = ridge * np.eye(phi.shape[1]) + (0 if past is None else past.T @ past)
    left, picks, scores = list(range(len(phi))), [], []
    for _ in range(batch_size):
        norms = np.sqrt(np.einsum("nd,de,ne->n", phi[left], np.linalg.inv(V), phi[left]))
        at = int(np.argmax(norms))
        scores.append(norms[at])
        picks.append(left.pop(at))
        V += np.outer(phi[picks[-1]], phi[picks[-1]])
    return picks, scores


def pairs_like_gradients(n=900, d=256, seed=0):
    """Differences of three responses a prompt, normalised, float32, with a decaying spectrum and
    some duplicates.
    """
    rng = stream(seed, "like gradients").numpy()
    responses = rng.standard_normal((n, d)) @ np.diag(np.arange(1, d + 1) ** -0.7)
    responses[30:33] = responses[27:30]
    responses /= np.linalg.norm(responses, axis=1, keepdims=True)
    at = np.arange(n)
    return (responses[at] - responses[at - at % 3 + (at + 1) % 3]).astype(np.float32)


@pytest.mark.parametrize("past", [None, pairs_like_gradients(60, seed=1)])
@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0])
def test_lazy_picks_are_those_of_the_full_dual(ridge, past):
    phi = pairs_like_gradients()
    truth = full_dual(phi, 50, ridge, past)
    assert select_greedy(phi, 50, ridge, past).indices.tolist() == truth
    assert select_greedy(phi.astype(np.float64), 50, ridge, past).indices.tolist() == truth


@pytest.mark.parametrize("past", [None, pairs_like_gradients(201, seed=1)])
def test_the_pool_is_read_once_and_then_a_part_of_it(past):
    norms = (
        stream(0, "norms").numpy().lognormal(size=(9000, 1))
    )  # as the gradients': a few far above the others
    pool = Counting(pairs_like_gradients(9000) * norms)
    select_greedy(pool, 30, 1.0, past)
    assert pool.passed == 9000
    assert 0 < pool.again <= 4500


def test_a_memory_mapped_pool_and_a_tensor_are_pools(tmp_path):
    phi = pairs_like_gradients()
    np.save(tmp_path / "phi.npy", phi)
    truth = select_greedy(phi, 20, 1.0).indices.tolist()
    assert (
        select_greedy(np.load(tmp_path / "phi.npy", mmap_mode="r"), 20, 1.0).indices.tolist()
        == truth
    )
    assert select_greedy(torch.from_numpy(phi), 20, 1.0).indices.tolist() == truth


@pytest.mark.parametrize("past", [None, pool(25, seed=1)])
@pytest.mark.parametrize("ridge", [1e-3, 1.0, 100.0])
def test_greedy_equals_explicit_inverse(ridge, past):
    phi = pool()
    picked = select_greedy(phi, 20, ridge, past)
    picks, scores = explicit_inverse(phi, 20, ridge, past)
    assert picked.indices.tolist() == picks
    np.testing.assert_allclose(picked.scores, scores, rtol=1e-8)


def test_uncertainty_is_the_norm_in_the_inverse_of_v():
    phi, past = pool(), pool(7, seed=2)
    V = 0.5 * np.eye(12) + past.T @ past
    truth = np.sqrt(np.einsum("nd,de,ne->n", phi, np.linalg.inv(V), phi))
    np.testing.assert_allclose(uncertainty(phi, 0.5, past), truth, rtol=1e-10)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_pool_order_does_not_change_the_pick(seed, equal_norms):
    phi = pool(30, 8, seed)
    phi[5], phi[17], phi[20] = phi[3], phi[3], -phi[3]  # duplicates: real ties
    if equal_norms:
        phi /= np.linalg.norm(phi, axis=1, keepdims=True)
    ids = [("prompt", i) for i in range(30)]
    shuffled = stream(seed, "shuffle").numpy().permutation(30)
    ties = stream(seed, "ties").uniforms(ids)
    straight = select_greedy(phi, 12, 1.0, ties=ties).indices
    turned = select_greedy(phi[shuffled], 12, 1.0, ties=ties[shuffled]).indices
    assert straight.tolist() == shuffled[turned].tolist()


def test_a_smaller_batch_is_the_beginning_of_a_larger_one():
    phi = pool()
    assert (
        select_greedy(phi, 5, 1.0).indices.tolist()
        == select_greedy(phi, 15, 1.0).indices[:5].tolist()
    )


def test_two_batches_equal_one_where_the_features_stay():
    phi = pool()
    whole = select_greedy(phi, 10, 1.0).indices
    rest = np.setdiff1d(np.arange(40), whole[:4])
    then = select_greedy(phi[rest], 6, 1.0, past_phi=phi[whole[:4]]).indices
    assert whole[4:].tolist() == rest[then].tolist()


@pytest.mark.parametrize("phi", [np.zeros((9, 4)), np.ones((9, 4)), np.eye(9)])
def test_all_equal_scores_give_each_pair_once(phi):
    picked = select_greedy(phi, 9, 1.0, ties=stream(0, "t").uniforms(range(9)))
    assert sorted(picked.indices.tolist()) == list(range(9))
    assert np.isfinite(picked.scores).all()


def test_the_first_of_equal_pairs_follows_the_keys_not_the_rows():
    firsts = {
        int(select_greedy(np.eye(6), 1, 1.0, ties=stream(s, "t").uniforms(range(6))).indices[0])
        for s in range(60)
    }
    assert firsts == set(range(6))


def test_prompts_allow_one_pick_a_prompt():
    prompts = np.repeat(np.arange(10), 4)
    picked = select_greedy(pool(), 10, 1.0, prompts=prompts)
    assert len(set(prompts[picked.indices])) == 10
    assert len(select_greedy(pool(), 20, 1.0, prompts=prompts).indices) == 10


def test_scores_never_rise_within_a_batch():
    assert (np.diff(select_greedy(pool(), 30, 1.0).scores) <= 1e-12).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3), 1, 1.0), r"phi must be \(pairs, dimensions\), got shape \(3,\)"),
        ((np.full((3, 2), np.nan), 1, 1.0), "NaN or infinite features"),
        ((np.ones((3, 2)), 4, 1.0), "cannot pick 4 pairs from a pool of 3"),
        ((np.ones((3, 2)), 1, 0.0), "ridge must be positive, got 0.0"),
        ((np.ones((3, 2)), 1, 1.0, np.ones((2, 5))), r"past_phi must be \(labelled, 2\)"),
        ((np.ones((3, 2)), 1, 1.0, None, np.ones(2)), "one number a pair: 3, got 2"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        select_greedy(*arguments)
