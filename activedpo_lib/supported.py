"""Which model folders can be a policy: what cannot is refused by its name, from the small files and
an empty skeleton, before any weights are read. And the files that any model folder must have.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from activedpo_lib.runtime import quiet

Config = dict[str, Any]
# What every reading of a policy says (method/logps.py, method/generation.py).
READS = ("attention_mask", "position_ids", "past_key_values", "logits_to_keep")


class ModelRefused(ValueError):
    """A model folder cannot be used. The message names what was expected, what came, the remedy."""


def _architecture(config: Config) -> str:
    return (config.get("architectures") or ["a model of no architecture"])[0]


# (whether a config.json is of that kind, what it is, the remedy), the first that fits
REFUSED: tuple[tuple[Callable[[Config], bool], str, str], ...] = (
    (
        lambda config: "quantization_config" in config,
        "holds quantised weights ({method})",
        "pi_SFT trains them all, and gradients are taken of exact ones: name the model's own, "
        "unquantised weights",
    ),
    (
        lambda config: bool(config.get("is_encoder_decoder")),
        "is an encoder-decoder ({architecture})",
        "a policy reads prompt and response as one sequence: name a decoder (...ForCausalLM)",
    ),
    (
        lambda config: any(
            f"{part}_config" in config for part in ("text", "vision", "audio", "thinker")
        ),
        "is a multimodal wrapper ({architecture})",
        "name its family's text model (Gemma 3: gemma-3-270m or gemma-3-1b, Gemma3ForCausalLM)",
    ),
    (
        lambda config: not _architecture(config).endswith("ForCausalLM"),
        "is not a causal language model but {architecture}",
        "it cannot be a policy: name one whose config.json says ...ForCausalLM",
    ),
    (
        lambda config: config.get("model_type") not in CONFIG_MAPPING,
        "is of a family that the installed transformers does not know ({family})",
        "renew transformers, or name a model of another family",
    ),
)


def policy_config(folder: Path | str) -> Config:
    """The config.json of a folder that may be a policy's. Raises ModelRefused naming what it is
    instead, FileNotFoundError where files are missing.
    """
    if (adapter := Path(folder) / "adapter_config.json").is_file():
        base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
        raise ModelRefused(
            f"{folder} holds an adapter (of {base}), and a policy puts its own on whole weights: "
            "merge it first, `PeftModel.from_pretrained(base, folder).merge_and_unload()"
            ".save_pretrained(new)` and the tokenizer's, and name that folder"
        )
    config = read_config(folder, "model.safetensors")
    for is_of_kind, what, remedy in REFUSED:
        if is_of_kind(config):
            method = (config.get("quantization_config") or {}).get("quant_method", "of no method")
            said = what.format(
                architecture=_architecture(config), method=method, family=config.get("model_type")
            )
            raise ModelRefused(f"{folder} {said}: {remedy}")
    return config


def check_policy(
    folder: Path | str, tokenizer: PreTrainedTokenizerBase, targets: Iterable[str]
) -> None:
    """Raise ModelRefused where this folder's model cannot be a policy, its tokenizer is another
    model's, or a LoRA target is none of its layers. Reads no weights.
    """
    policy_config(folder)
    for file in sorted(Path(folder).glob("*.safetensors")):
        try:
            safe_open(file, "pt")  # its header alone
        except SafetensorError as error:
            raise unreadable(folder, error) from None
    read: Any = AutoConfig.from_pretrained
    with quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(read(folder, local_files_only=True))
        if (Path(folder) / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder)
    lacks = [name for name in READS if name not in inspect.signature(model.forward).parameters]
    layers = {type(layer) for layer in DynamicCache(config=model.config).layers}
    if states := layers - {DynamicLayer, DynamicSlidingWindowLayer}:
        raise ModelRefused(
            f"{folder} is a {type(model).__name__}, which keeps a running state "
            f"({sorted(layer.__name__ for layer in states)[0]}): one prefill is copied to all of a "
            "prompt's responses, which needs attention in every layer; name such a model"
        )
    if lacks:
        raise ModelRefused(
            f"{folder} is a {type(model).__name__}, whose forward takes no {', '.join(lacks)}: "
            "prompts of different lengths are read together by them; name a model of another family"
        )
    check_tokenizer(folder, model, tokenizer)
    check_targets(model, targets)


def unreadable(folder: Path | str, error: Exception) -> ModelRefused:
    """What to raise where weights cannot be read."""
    return ModelRefused(
        f"{folder}: its weights are not what config.json says ({type(error).__name__}: "
        f"{str(error)[:80]}): an interrupted download, git-lfs pointers, or another model's; "
        "download it again"
    )


def check_tokenizer(
    folder: Path | str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Raise ModelRefused where the tokenizer has no EOS or is another model's: more tokens than
    the model has rows (fewer is a padded vocabulary), or none of the model's ends a special token.
    """
    embeddings: Any = model.get_input_embeddings()
    rows, size = len(embeddings.weight), len(tokenizer)
    remedy = "put the tokenizer that belongs to these weights into the folder"
    if tokenizer.eos_token_id is None:
        raise ModelRefused(
            f"{folder}: its tokenizer has no EOS, with which every response ends: set eos_token in "
            "tokenizer_config.json to the token that ends a text there"
        )
    if size > rows:
        raise ModelRefused(
            f"{folder}: its tokenizer has {size} tokens, its model rows for {rows}: {remedy}, or "
            "resize the embeddings"
        )
    special = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    ends = ends_of(model)
    if ends and not special & set(ends):
        raise ModelRefused(
            f"{folder}: the model ends a text with the token {list(ends)}, which is no special "
            f"token of its tokenizer ({tokenizer.eos_token!r} is {tokenizer.eos_token_id}): "
            f"{remedy}, or correct eos_token_id in config.json"
        )


def ends_of(model: Any) -> tuple[int, ...]:
    """The token ids that end a text by the model's own word: generation_config.json's, which may
    be several, else config.json's.
    """
    for where in (getattr(model, "generation_config", None), getattr(model, "config", None)):
        if (said := getattr(where, "eos_token_id", None)) is not None:
            return tuple(said) if isinstance(said, list | tuple) else (said,)
    return ()


def check_targets(model: torch.nn.Module, targets: Iterable[str]) -> None:
    """Raise ModelRefused listing the model's linear layers where a LoRA target names none: PEFT
    passes over a target that is absent where another one is found.
    """
    linears = {
        name.removesuffix(".base_layer")  # under an adapter that an earlier policy left
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    absent = [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in linears)]
    if not absent:
        return
    names = sorted({name.rsplit(".", 1)[-1] for name in linears})
    fused = [
        name
        for name, weight in model.named_parameters()
        if weight.dim() == 3 and "experts" in name and name.rsplit(".", 1)[-1] != "weight"
    ]
    because = (
        f" (a mixture of experts whose weights are fused parameters, as {fused[0]}: gradients are "
        "taken of linear layers)"
        if fused
        else ""
    )
    raise ModelRefused(
        f"lora.targets {absent} are no linear layers of {type(model).__name__}{because}; it has "
        f"{names}: set lora.targets to some of them"
    )


def read_config(folder: Path | str, *files: str) -> Config:
    """A model folder's config.json as a dict; FileNotFoundError where it lacks `files`,
    ModelRefused where it or the tokenizer brings code.
    """
    need_files(folder, "config.json", *files)
    read = {
        name: json.loads((Path(folder) / name).read_text(encoding="utf-8"))
        for name in ("config.json", "tokenizer_config.json")
        if (Path(folder) / name).is_file()
    }
    if brings := [name for name, values in read.items() if "auto_map" in values]:
        raise ModelRefused(
            f"{folder} brings code of its own (auto_map in {brings[0]}), which this project never "
            "runs; use a model whose architecture transformers has"
        )
    return read["config.json"]


def need_files(folder: Path | str, *names: str) -> None:
    """Raise FileNotFoundError naming the files that a model folder lacks; weights may be in several
    files, which an index names.
    """
    missing = [name for name in names if not (Path(folder) / name).is_file()]
    index = Path(folder) / "model.safetensors.index.json"
    if "model.safetensors" in missing and index.is_file():
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing.remove("model.safetensors")
        missing += sorted(name for name in named if not (Path(folder) / name).is_file())
    if missing:
        raise FileNotFoundError(
            f"{folder} is not a model folder: it lacks {missing}; save one there with "
            "model.save_pretrained(folder) "
            "and tokenizer.save_pretrained(folder), or rewrite pickled weights (*.bin): "
            "`python -m activedpo_lib.runs.model_hub NAME FOLDER`"
        )
