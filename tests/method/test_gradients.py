import numpy as np
import pytest
import torch
from conftest import make_policy, make_sequences
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from activedpo_lib.method.formulas import sequence_logp
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import batch_logps, batches, response_logps
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Budget


def exact(policy):
    return make_projection("none", 1, 0, gradient_shapes(policy))


def one_by_one(policy, prompts, responses):
    """The slower truth: no padding, no hooks, one backward pass a response through autograd's own
    weight gradients.
    """
    wanted = [p for n, p in policy.named_parameters() if "lora_" in n]
    names = [n for n, _ in policy.named_parameters() if "lora_" in n]
    order = [names.index(f"{name}.weight") for name in gradient_shapes(policy)]
    rows = []
    for prompt, response in zip(prompts, responses, strict=True):
        ids = torch.tensor([prompt + response])
        logits = policy(input_ids=ids).logits[:, len(prompt) - 1 : -1]
        logp = (
            torch.log_softmax(logits.double(), -1)
            .gather(-1, torch.tensor([response]).unsqueeze(-1))
            .sum()
        )
        found = torch.autograd.grad(logp, wanted)
        rows.append(torch.cat([found[i].flatten() for i in order]).float().numpy())
    return np.stack(rows)


@pytest.mark.parametrize("token_budget", [1, 40, 10_000])
def test_batched_gradients_equal_one_by_one(policy, token_budget):
    prompts, responses = make_sequences(
        11
    )  # 11: remainder batches; prompts padded left, responses right
    features = response_features(policy, prompts, responses, exact(policy), Budget(token_budget))
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
    features = response_features(policy, prompts, responses, fold, Budget(60))
    np.testing.assert_allclose(features.phi, truth.numpy(), atol=1e-5 * np.abs(truth.numpy()).max())


def wrapped(config, **changes):
    """A small Llama, some things about it changed, with an adapter whose B is not zero."""
    base = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=338,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            eos_token_id=1,
            pad_token_id=0,
            **changes,
        )
    )
    policy = get_peft_model(base, config).eval()
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(0)
            )
    return policy


@pytest.mark.parametrize(("targets", "rank", "untied"), [
    (["q_proj"], 1, False),
    (["k_proj", "o_proj", "down_proj"], 16, True),
    ("all-linear", 3, True),
    (["lm_head", "v_proj"], 4, True),  # the head's own gradient, at response positions only
])  # fmt: skip
def test_any_targets_rank_and_untied_embeddings(targets, rank, untied):
    config = LoraConfig(
        r=rank, target_modules=targets, task_type="CAUSAL_LM", use_rslora=rank == 16
    )
    policy = wrapped(config, tie_word_embeddings=not untied)
    features = response_features(policy, *make_sequences(5), exact(policy), Budget(60))
    truth = one_by_one(policy, *make_sequences(5))
    assert np.abs(features.phi - truth).max() < 1e-5 * np.abs(truth).max()


def test_gradient_checkpointing_changes_nothing(policy):
    truth = response_features(policy, *make_sequences(5), exact(policy)).phi
    policy.gradient_checkpointing_enable()
    policy.train()
    assert np.array_equal(response_features(policy, *make_sequences(5), exact(policy)).phi, truth)
    assert policy.get_base_model().is_gradient_checkpointing


@pytest.mark.parametrize(
    "changes", [{"use_dora": True}, {"lora_bias": True}, {"modules_to_save": ["lm_head"]}]
)
def test_an_adapter_with_other_parameters_is_refused(changes):
    policy = wrapped(LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **changes))
    with pytest.raises(ValueError, match="the adapter also trains"):
        gradient_shapes(policy)


def test_a_module_that_takes_no_part_is_named():
    policy = wrapped(LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    layer = policy.get_base_model().model.layers[1].self_attn
    layer.spare = layer.q_proj
    layer.q_proj = torch.nn.Linear(32, 32)
    with pytest.raises(ValueError, match=r"no gradient came from .*spare"):
        response_features(policy, *make_sequences(2), exact(policy))


def test_a_stopped_pass_goes_on_to_the_same_features(policy, tmp_path):
    prompts, responses = make_sequences(13)
    truth = response_features(policy, prompts, responses, exact(policy), Budget(60))
    calls = []

    class Stopping(type(exact(policy))):
        def add(self, out, name, gradient):
            calls.append(name)
            if len(calls) == 100:
                raise KeyboardInterrupt
            super().add(out, name, gradient)

    stopping = Stopping("none", 1, 0, gradient_shapes(policy))
    arguments = (policy, prompts, responses, stopping, Budget(60, 0, tmp_path))
    with pytest.raises(KeyboardInterrupt):
        response_features(*arguments)
    before = len(calls)
    found = response_features(*arguments)
    assert isinstance(found.phi, np.memmap)
    assert np.array_equal(found.phi, truth.phi)
    assert np.array_equal(found.norm, truth.norm)
    whole = len(gradient_shapes(policy)) * len(list(batches(prompts, responses, 60)))
    assert len(calls) - before < whole  # what was there was not computed again
    response_features(*arguments)
    assert len(calls) - before < whole  # and nothing at all the third time
    for part in ("lora_B", "base_layer"):  # features of another adapter or base are not taken
        weight = next(p for n, p in policy.named_parameters() if part in n)
        weight.data += 0.1
        assert not np.array_equal(response_features(*arguments).phi, truth.phi)
        weight.data -= 0.1


def test_a_model_without_adapter_is_refused():
    base = make_policy().unload()
    with pytest.raises(ValueError, match="LoRA adapter"):
        response_features(base, *make_sequences(1), None)


def test_bfloat16_gradients_are_projected_in_float32():
    policy = make_policy(dtype=torch.bfloat16)
    features = response_features(policy, *make_sequences(3), exact(policy))
    assert features.phi.dtype == np.float32
    truth = response_features(policy.float(), *make_sequences(3), exact(policy)).phi
    cosine = (
        (features.phi * truth).sum(1)
        / np.linalg.norm(features.phi, axis=1)
        / np.linalg.norm(truth, axis=1)
    )
    assert (cosine > 0.98).all()


def test_logps_do_not_depend_on_batching_or_padding(policy):
    prompts, responses = make_sequences(9)
    whole = response_logps(policy, prompts, responses, 10_000)
    locked = [response_logps(policy, [p], [r])[0] for p, r in zip(prompts, responses, strict=True)]
    np.testing.assert_allclose(whole, locked, atol=2e-4)


def test_right_padded_prompts_would_give_the_same_logps(policy):
    """Left padding needs its mask and positions: the same sequences, padded on the right by hand,
    agree.
    """
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
    hook = policy.get_base_model().lm_head.register_forward_hook(
        lambda _m, inputs, _o: seen.append(inputs[0].shape)
    )
    batch_logps(policy, batch)
    hook.remove()
    assert seen[0][1] == batch.labels.shape[1] + 1
