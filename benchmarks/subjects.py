"""What is measured: models of stated sizes with random weights, and real gradients of the built-in
world's policy.
"""

import functools
import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from activedpo_lib.method import adapters, candidates
from activedpo_lib.method.generation import generate
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.projection import make_projection
from activedpo_lib.params import load_params
from activedpo_lib.records import Past, Sampling
from activedpo_lib.runs.rounds import active_round, initial_round
from activedpo_lib.runs.run import open_run
from activedpo_lib.runtime import seeded
from activedpo_lib.streams import stream

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SIZES = {"1M": (128, 4, 1000), "15M": (384, 8, 4000)}  # hidden size, layers, vocabulary


def llama(size, rank=16):
    """A randomly initialised Llama of that size with a LoRA adapter whose B is not zero."""
    hidden, layers, vocabulary = SIZES[size]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=8 * hidden // 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    with seeded(stream=stream(0, "benchmark")):
        base = LlamaForCausalLM(config)
        policy = adapters.with_adapter(
            base, adapters.lora_config(rank, 2 * rank, LINEARS), stream=stream(0, "adapter")
        )
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.data = 0.02 * torch.randn_like(parameter)
    return policy


def sequences(count, prompt, response, vocabulary=1000):
    """`count` random prompts and responses; `prompt` and `response` are (shortest, longest) lengths
    in tokens.
    """
    rng = stream(0, "sequences").numpy()

    def draw(low, high):
        return tuple(map(int, rng.integers(2, vocabulary, rng.integers(low, high + 1))))

    return [draw(*prompt) for _ in range(count)], [draw(*response) for _ in range(count)]


@functools.cache
def world_run():
    """(run, policy): the built-in world's WebGPT Llama after SFT and one round of ActiveDPO; some
    10 s.
    """
    params = load_params("tiny", "webgpt", "llama", "activedpo", {"oracle.kind": "utility"})
    run = open_run(params, 0, tempfile.mkdtemp(), log=lambda _: None)
    policy = adapters.with_adapter(run.base, run.lora, stream=run.stream("adapter"))
    initial_round(run, policy)
    return run, active_round(run, policy, Past(), 1)[0]


@functools.cache
def world_features(kind, dim, prompts=1000, responses=3, seed=0):
    """(Features, pairs) of responses of the world's policy after one round: real gradients."""
    run, policy = world_run()
    rows = run.stream("benchmark").numpy().choice(len(run.task.prompts), prompts, replace=False)
    drawn = [run.task.prompts[row] for row in rows]
    how, noise = Sampling(responses, 32), run.stream("benchmark pool")
    pool = generate(policy, run.tokenizer, drawn, how, stream=noise)
    projection = make_projection(kind, dim, seed, gradient_shapes(policy))
    return response_features(policy, *candidates.sequences(pool), projection), pool.pairs


def world_pairs(dim=8192, **pool):
    """(n, d) float32: real pair features, each response normalised (D4)."""
    features, pairs = world_features("fold", dim, **pool)
    return candidates.pair_features(features, pairs, "response", "after")
