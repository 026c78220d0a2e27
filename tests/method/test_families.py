"""The model families that people will try next, small and random, from their own config classes:
gradients are autograd's, tokens are `generate()`'s, and the reference is pi_SFT.
"""

import numpy as np
import pytest
import torch
from conftest import TARGETS, make_sequences
from test_gradients import exact, one_by_one
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen3Config,
    SmolLM3Config,
)

from activedpo_lib.method import adapters
from activedpo_lib.method.generation import generate
from activedpo_lib.method.gradients import response_features
from activedpo_lib.method.logps import implicit_rewards, reference_logps, response_logps
from activedpo_lib.records import Budget, Sampling
from activedpo_lib.streams import stream

SHAPE = {
    "vocab_size": 338, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1,
}  # fmt: skip
FAMILIES = {
    "qwen3": Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True),  # normed, wide heads
    "llama 3": LlamaConfig(**SHAPE, rope_theta=5e5, tie_word_embeddings=False),
    "gemma 3": Gemma3TextConfig(  # a sliding window shorter than the sequences, then a full layer
        **SHAPE, head_dim=16, sliding_window=6,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    ),
    "mistral": MistralConfig(**SHAPE, sliding_window=6),
    "smollm 3": SmolLM3Config(**SHAPE, no_rope_layers=[1, 1, 0]),  # a layer without positions
    "mixtral": MixtralConfig(**SHAPE, num_local_experts=4),  # fused experts; LoRA on its attention
}  # fmt: skip


@pytest.fixture(params=FAMILIES, ids=lambda name: name.replace(" ", "_"))
def policy(request):
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(FAMILIES[request.param]).float()
    targets = TARGETS[:4] if request.param == "mixtral" else TARGETS
    config = adapters.lora_config(4, 16, targets)
    found = adapters.with_adapter(base, config, stream=stream(0, "adapter"))
    for name, parameter in found.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape)
    return found.eval()


@pytest.mark.parametrize("token_budget", [40, 10_000])
def test_batched_gradients_equal_autograds_one_by_one(policy, token_budget):
    prompts, responses = make_sequences(9)
    features = response_features(policy, prompts, responses, exact(policy), Budget(token_budget))
    truth = one_by_one(policy, prompts, responses)
    scale = np.linalg.norm(truth, axis=1).max()
    assert scale > 0
    assert np.abs(features.phi - truth).max() < 2e-5 * scale


def test_logps_do_not_depend_on_batching(policy):
    prompts, responses = make_sequences(9)
    together = response_logps(policy, prompts, responses, 10_000)
    alone = response_logps(policy, prompts, responses, 1)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_the_likeliest_tokens_are_the_librarys_own(policy, tokenizer, prompts):
    pool = generate(
        policy, tokenizer, prompts, Sampling(1, 12, top_k=1), stream=stream(0, "greedy")
    )
    for prompt, response in zip(pool.prompt_tokens, pool.responses, strict=True):
        ids = torch.tensor([prompt])
        truth = policy.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        assert tuple(truth[0, len(prompt) :].tolist()) == response.tokens


def test_the_reference_is_pi_sft(policy):
    read = make_sequences(9)
    rewards = implicit_rewards(policy, *read, 0.1)
    gaps = response_logps(policy, *read, 10_000) - reference_logps(policy, *read, 10_000)
    np.testing.assert_allclose(rewards, 0.1 * gaps, atol=1e-5)
    assert np.abs(rewards).max() > 1e-3
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(policy.get_base_model().config).float().eval()
    for prompt, response, told in zip(*read, reference_logps(policy, *read, 10_000), strict=True):
        logits = base(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        rows = torch.log_softmax(logits.double(), -1)
        assert rows[range(len(response)), list(response)].sum().item() == pytest.approx(
            told, abs=1e-3
        )
