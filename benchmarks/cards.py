"""What the card's benchmarks share: the paper's models from their shapes with random weights, the
card's own peak, and how a call on it is timed.
"""

import time

import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig

from activedpo_lib.method import adapters
from activedpo_lib.runtime import device, quiet
from activedpo_lib.streams import stream

# The built-in word tokenizer's: PAD 0, EOS 1, no BOS.
SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
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
        **SPECIAL,
    ),
    "llama-2-7b": LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        **SPECIAL,
    ),
    "small": LlamaConfig(
        vocab_size=1000,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=2,
        **SPECIAL,
    ),
}


def card_name():
    """The accelerator's name, or the CPU."""
    return torch.cuda.get_device_name() if device().type == "cuda" else "CPU"


def peak_flops():
    """The card's dense bfloat16 peak, operations a second; NaN where it is not known."""
    found = next((value for card, value in PEAKS.items() if card in card_name()), float("nan"))
    return found * 1e12


def policy_of(name, config):
    """A random model of that shape, bfloat16, on the device; its adapter, by a LoraConfig, has a
    B that is not zero.
    """
    with torch.device(device()), quiet():
        base = AutoModelForCausalLM.from_config(SHAPES[name], dtype=torch.bfloat16).eval()
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
