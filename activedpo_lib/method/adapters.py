"""The LoRA adapter on top of pi_SFT: put on, folded in, taken off, saved (D6, D12)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from transformers import PreTrainedModel

from activedpo_lib.runtime import quiet, seeded
from activedpo_lib.streams import Stream
from activedpo_lib.supported import check_targets


def lora_config(rank: int, alpha: int, targets: Iterable[str]) -> LoraConfig:
    """LoRA without dropout: the gradients that pick must be the model's own."""
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(targets),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )


def with_adapter(base: PreTrainedModel, config: LoraConfig, *, stream: Stream) -> PeftModel:
    """`base` with a fresh adapter: B = 0, so the policy is still pi_SFT; adapter off, it always is
    (D12). Raises ModelRefused where a target is none of its linear layers.
    """
    check_targets(base, config.target_modules or ())
    with seeded(stream=stream), quiet():
        return get_peft_model(base, config).eval()


def merge_adapter(policy: PeftModel) -> PreTrainedModel:
    """The policy's base with its adapter folded in (D12); it remembers pi_SFT's weights, which stay
    the reference.
    """
    base = policy.get_base_model()
    kept = base.__dict__.setdefault("sft_weights", {})
    for name, module in base.named_modules():
        if hasattr(module, "base_layer"):
            kept.setdefault(name, module.base_layer.weight.detach().clone())
    merged = policy.merge_and_unload()
    merged.__dict__["sft_weights"] = kept
    return merged.eval()


@contextlib.contextmanager
def sft_weights(base: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Inside, a base that adapters were folded into has pi_SFT's weights again; any other is left
    as it is.
    """
    layers = {name: base.get_submodule(name) for name in base.__dict__.get("sft_weights", {})}
    weights = {name: getattr(layer, "base_layer", layer).weight for name, layer in layers.items()}
    folded = {name: weight.data for name, weight in weights.items()}
    for name, weight in weights.items():
        weight.data = base.__dict__["sft_weights"][name]
    try:
        yield base
    finally:
        for name, weight in weights.items():
            weight.data = folded[name]


def bare(base: PreTrainedModel) -> PreTrainedModel:
    """The base as it was loaded: without adapters that earlier policies left on it, and with
    pi_SFT's weights.

    Those policies are of no use afterwards.
    """
    for name, module in list(base.named_modules()):
        if hasattr(module, "base_layer"):
            base.set_submodule(name, module.base_layer)
    base.__dict__.pop("peft_config", None)
    return unmerge(base)


def unmerge(base: PreTrainedModel) -> PreTrainedModel:
    """The base with pi_SFT's weights for good."""
    for name, weight in base.__dict__.pop("sft_weights", {}).items():
        base.get_submodule(name).weight.data = weight
    return base


def adapter_state(policy: PeftModel) -> dict[str, torch.Tensor]:
    """The adapter's tensors by name, on the CPU."""
    return {
        name: value.detach().cpu().clone()
        for name, value in get_peft_model_state_dict(policy).items()
    }


def set_adapter_state(policy: PeftModel, state: dict[str, torch.Tensor]) -> PeftModel:
    """Put `state` (from `adapter_state`) into the policy's adapter."""
    set_peft_model_state_dict(policy, state)
    return policy
