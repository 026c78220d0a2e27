import numpy as np
import pytest
import torch

from activedpo_lib.method.formulas import (
    dpo_loss,
    implicit_reward,
    interval,
    preference_probability,
    sequence_logp,
    win_rate,
)


def test_sequence_logp_sums_over_response_tokens_only():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 4, -100], [2, -100, -100]])
    logs = torch.log_softmax(logits, -1)
    truth = torch.stack([logs[0, 0, 1] + logs[0, 1, 4], logs[1, 0, 2]])
    torch.testing.assert_close(sequence_logp(logits, labels), truth)


def test_implicit_reward_is_beta_times_the_log_ratio():
    assert implicit_reward(np.array([-3.0]), np.array([-5.0]), 0.1) == pytest.approx(0.2)


def test_preference_probability_is_the_sigmoid_and_does_not_overflow():
    np.testing.assert_allclose(preference_probability([0, 1000, -1000], 0), [0.5, 1.0, 0.0])
    assert preference_probability(2.0, 1.0) == pytest.approx(1 / (1 + np.exp(-1)))


def test_dpo_loss_starts_at_log_two():
    assert dpo_loss(torch.tensor(0.3), torch.tensor(0.3)).item() == pytest.approx(np.log(2))


def test_win_rate_counts_ties_half_and_meets_every_initial_response():
    assert win_rate([[1.0, 3.0]], [[2.0, 3.0]]).tolist() == [(0 + 0 + 1 + 0.5) / 4]
    assert win_rate([[1.0]], [[1.0]]) == 0.5
    with pytest.raises(ValueError, match="the same prompts: got 1 and 2"):
        win_rate([[1.0]], [[1.0], [2.0]])


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [
        abs(mean) <= half for mean, half in (interval(rng.standard_normal(5)) for _ in range(4000))
    ]
    assert abs(np.mean(hits) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)
    assert np.isnan(interval([1.0])[1])
