import numpy as np
import pytest
import torch
from conftest import make_policy, make_sequences

from activedpo_lib.formulas import sequence_logp
from activedpo_lib.gradients import gradient_shapes, response_features
from activedpo_lib.logps import batch_logps, batches, response_logps
from activedpo_lib.projection import make_projection


def exact(policy):
    return make_projection("none", 1, 0, gradient_shapes(policy))


def one_by_one(policy, prompts, responses):
    """The slower truth: no padding, no hooks, one backward pass a response through autograd's own weight gradients."""
    wanted = [p for n, p in policy.named_parameters() if "lora_" in n]
    names = [n for n, _ in policy.named_parameters() if "lora_" in n]
    order = [names.index(f"{name}.weight") for name in gradient_shapes(policy)]
    rows = []
    for prompt, response in zip(prompts, responses, strict=True):
        ids = torch.tensor([prompt + response])
        logits = policy(input_ids=ids).logits[:, len(prompt) - 1 : -1]
        logp = torch.log_softmax(logits.double(), -1).gather(-1, torch.tensor([response]).unsqueeze(-1)).sum()
        found = torch.autograd.grad(logp, wanted)
        rows.append(torch.cat([found[i].flatten() for i in order]).float().numpy())
    return np.stack(rows)


@pytest.mark.parametrize("token_budget", [1, 40, 10_000])
def test_batched_gradients_equal_one_by_one(policy, token_budget):
    prompts, responses = make_sequences(11)  # 11: remainder batches; prompts padded left, responses right
    features = response_features(policy, prompts, responses, exact(policy), token_budget)
    truth = one_by_one(policy, prompts, responses)
    scale = np.linalg.norm(truth, axis=1, keepdims=True)
    assert (scale > 0).all()
    assert np.abs(features.phi - truth).max() < 1e-5 * scale.max()
    np.testing.assert_allclose(features.norm, scale[:, 0], rtol=1e-4)


def test_features_leave_the_model_as_it_was(policy):
    before = {name: p.requires_grad for name, p in policy.named_parameters()}
    policy.train()
    response_features(policy, *make_sequences(3), exact(policy))
    assert {name: p.requires_grad for name, p in policy.named_parameters()} == before
    assert policy.training
    assert all(p.grad is None for p in policy.parameters())


def test_a_fresh_adapter_has_no_gradient_in_a():
    policy = make_policy(trained=False)
    features = response_features(policy, *make_sequences(4), exact(policy))
    sizes = exact(policy).sizes
    start = 0
    for name, size in sizes.items():
        share = np.abs(features.phi[:, start : start + size]).max()
        assert share == 0 if "lora_A" in name else share > 0
        start += size


def test_projected_features_are_the_projection_of_the_exact_ones(policy):
    prompts, responses = make_sequences(6)
    fold = make_projection("fold", 64, 3, gradient_shapes(policy))
    truth = torch.zeros(6, 64)
    gradients = torch.from_numpy(one_by_one(policy, prompts, responses))
    for name, part in zip(fold.sizes, gradients.split(list(fold.sizes.values()), 1), strict=True):
        fold.add(truth, name, part)
    features = response_features(policy, prompts, responses, fold, token_budget=60)
    np.testing.assert_allclose(features.phi, truth.numpy(), atol=1e-5 * np.abs(truth.numpy()).max())


def test_a_model_without_adapter_is_refused():
    base = make_policy().unload()
    with pytest.raises(ValueError, match="LoRA adapter"):
        response_features(base, *make_sequences(1), None)


def test_bfloat16_gradients_are_projected_in_float32():
    policy = make_policy(dtype=torch.bfloat16)
    features = response_features(policy, *make_sequences(3), exact(policy))
    assert features.phi.dtype == np.float32
    truth = response_features(policy.float(), *make_sequences(3), exact(policy)).phi
    cosine = (features.phi * truth).sum(1) / np.linalg.norm(features.phi, axis=1) / np.linalg.norm(truth, axis=1)
    assert (cosine > 0.98).all()


def test_logps_do_not_depend_on_batching_or_padding(policy):
    prompts, responses = make_sequences(9)
    whole = response_logps(policy, prompts, responses, 10_000)
    alone = [response_logps(policy, [p], [r])[0] for p, r in zip(prompts, responses, strict=True)]
    np.testing.assert_allclose(whole, alone, atol=2e-4)


def test_right_padded_prompts_would_give_the_same_logps(policy):
    """Left padding needs its mask and positions: the same sequences, padded on the right by hand, agree."""
    prompts, responses = make_sequences(5)
    width = max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
    ids, mask = torch.zeros(5, width, dtype=torch.long), torch.zeros(5, width, dtype=torch.long)
    labels = torch.full((5, width), -100)
    for i, (p, r) in enumerate(zip(prompts, responses, strict=True)):
        ids[i, : len(p) + len(r)] = torch.tensor(p + r)
        mask[i, : len(p) + len(r)] = 1
        labels[i, len(p) : len(p) + len(r)] = torch.tensor(r)
    logits = policy(input_ids=ids, attention_mask=mask).logits[:, :-1]
    right = sequence_logp(logits, labels[:, 1:]).detach().numpy()
    np.testing.assert_allclose(response_logps(policy, prompts, responses), right, atol=2e-4)


def test_batches_hold_every_sequence_once_and_keep_to_the_budget():
    prompts, responses = make_sequences(23)
    found = list(batches(prompts, responses, 50))
    assert sorted(row for batch in found for row in batch.rows) == list(range(23))
    assert all(batch.input_ids.numel() <= 50 or len(batch.rows) == 1 for batch in found)


def test_only_response_positions_reach_the_head(policy):
    batch = next(batches(*make_sequences(4), 10_000))
    seen = []
    hook = policy.get_base_model().lm_head.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].shape))
    batch_logps(policy, batch)
    hook.remove()
    assert seen[0][1] == batch.labels.shape[1] + 1
