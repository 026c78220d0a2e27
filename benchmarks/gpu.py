"""The fast core at the paper's size on one card: `python -m benchmarks.gpu`; on a CPU, `--size
small` tries the same path.

Weights are random, of the shapes of Gemma-2B and Llama-2-7B, in bfloat16; LoRA r 128 on q, k, v, o;
d 8192.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig

from activedpo_lib.method import adapters
from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.features import pair_features
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Budget, Features
from activedpo_lib.runtime import device, quiet
from activedpo_lib.streams import stream
from benchmarks.measure import Row, markdown, save
from benchmarks.references import plain_step
from benchmarks.subjects import sequences

HERE = Path(__file__).parent
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
# Dense bfloat16 peaks in TFLOP/s, from the makers' data sheets.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L4": 121}
SHAPES = {
    "gemma-2b": GemmaConfig(
        vocab_size=256000,
        hidden_size=2048,
        intermediate_size=16384,
        num_hidden_layers=18,
        num_attention_heads=8,
        num_key_value_heads=1,
        head_dim=256,
    ),
    "llama-2-7b": LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
    ),
    "small": LlamaConfig(
        vocab_size=1000,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=2,
    ),
}


class Nothing:
    """A projection that projects nothing: what is left of a pass without it."""

    kind, seed, dim = "nothing", 0, 1

    def add(self, out, name, gradient):
        """Leave `out` as it is."""


def policy_of(name, rank):
    """A random model of that shape, bfloat16, on the device, its adapter's B not zero."""
    with torch.device(device()), quiet():
        base = AutoModelForCausalLM.from_config(SHAPES[name], dtype=torch.bfloat16)
    config = adapters.lora_config(rank, 4 * rank, TARGETS)
    policy = adapters.with_adapter(base.to(device()), config, stream=stream(0, "adapter"))
    for parameter_name, parameter in policy.named_parameters():
        if "lora_B" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.01)
    return policy


def timed(call):
    """(wall seconds, peak MiB on the card or NaN, result) of a call, the device idle before and
    after.
    """
    on_card = device().type == "cuda"
    if on_card:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = call()
    if on_card:
        torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_card else float("nan")
    return time.perf_counter() - start, peak, result


def rows_of(name, responses, rank, dim, budget):
    """The rows for one model."""
    policy = policy_of(name, rank)
    vocabulary = policy.config.vocab_size
    shapes = gradient_shapes(policy)
    fold = make_projection("fold", dim, 0, shapes)
    asked = sequences(responses, (64, 320), (64, 256) if name != "small" else (4, 16), vocabulary)
    few = [part[: max(3, responses // 20)] for part in asked]
    each = Budget(budget)
    # Compiles kernels, draws signs, fills the allocator.
    response_features(policy, *few, fold, each)
    plain_step(policy, *few, budget)
    policy.zero_grad(set_to_none=True)
    plain, plain_peak, _ = timed(lambda: plain_step(policy, *asked, budget))
    policy.zero_grad(set_to_none=True)
    ours, ours_peak, features = timed(lambda: response_features(policy, *asked, fold, each))
    bare, _, _ = timed(lambda: response_features(policy, *asked, Nothing(), each))
    tokens = sum(len(x) + len(y) for x, y in zip(*asked, strict=True))
    weights = sum(
        p.numel() for n, p in policy.named_parameters() if "lora_" not in n and "embed" not in n
    )
    yield Row(f"{name}: adapter parameters", sum(map(np.prod, shapes.values())) / 1e6, "M")
    yield Row(f"{name}: {responses:,} responses, {tokens:,} tokens: features", ours, "s")
    yield Row(f"{name}: features / plain forward+backward", ours / plain)
    yield Row(f"{name}: share of features that is projection", 1 - bare / ours, "")
    peak = next((value for card, value in PEAKS.items() if card in card_name()), float("nan"))
    # Forward and the gradient of the inputs: two operations each for a weight and token.
    achieved = 4 * weights * tokens / ours / 1e12
    yield Row(f"{name}: features", achieved, "TFLOP/s")
    yield Row(f"{name}: share of the card's bf16 peak", achieved / peak, "")
    yield Row(f"{name}: peak memory of features", ours_peak, "MiB")
    yield Row(f"{name}: peak memory of a plain step", plain_peak, "MiB")
    yield from selection_rows(name, features)


def selection_rows(name, features: Features):
    """Picking 50 of the pairs, without and with 500 labelled ones."""
    count = len(features.phi) // 3 * 3
    pairs = np.array([(i, i - i % 3 + (i + 1) % 3) for i in range(count)])
    phi = pair_features(features, pairs, "response", "after")
    labelled, batch = min(500, count // 3), min(50, count // 3)
    for past in (None, phi[:labelled]):
        seconds, _, _ = timed(lambda past=past: select_greedy(phi[labelled:], batch, 2.0, past))
        what = f"{batch} of {count - labelled:,} pairs, {0 if past is None else labelled} labelled"
        yield Row(f"{name}: selection, {what}", seconds, "s")


def card_name():
    """The accelerator's name, or the CPU."""
    return torch.cuda.get_device_name() if device().type == "cuda" else "CPU"


def main(arguments=None):
    """Measure the models asked for; write results/gpu-<card>.md and .json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--size", nargs="+", choices=SHAPES, default=["gemma-2b", "llama-2-7b"])
    parser.add_argument("--responses", type=int, default=3000)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--dimensions", type=int, default=8192)
    parser.add_argument("--budget", type=int, default=8192, help="padded tokens of one batch")
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder of the table and its JSON"
    )
    given = parser.parse_args(arguments)
    if device().type == "cpu" and given.size != ["small"]:
        parser.error(
            "the paper's sizes need a CUDA device and none was found; --size small tries the path "
            "on a CPU"
        )
    found = {}
    for name in given.size:
        found[name] = list(
            rows_of(name, given.responses, given.rank, given.dimensions, given.budget)
        )
        print(markdown({name: found[name]}), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    label = "gpu-" + card_name().replace(" ", "-")
    save(given.out / f"{label}.json", found)
    (given.out / f"{label}.md").write_text(
        f"{card_name()}, torch {torch.__version__}\n\n" + markdown(found), "utf-8"
    )
    return found


if __name__ == "__main__":
    main()
