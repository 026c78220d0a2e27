"""Tokenizers and policies: small ones from a config, others from a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GemmaConfig,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from activedpo_lib.records import Prompt, Tokens
from activedpo_lib.runtime import device, need_files, quiet, read_config, seeded
from activedpo_lib.streams import Stream

EOS, PAD, UNKNOWN = "</s>", "<pad>", "<unk>"
# With the usual 0.02, copying from the prompt is not learned in the time.
INITIALIZER_RANGE = 0.08


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words split at whitespace: the built-in world's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate([PAD, EOS, UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return _fast(tokenizer)


def bpe_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most `size` tokens, trained on `texts`."""
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        texts, vocab_size=size, special_tokens=[PAD, EOS, UNKNOWN], show_progress=False
    )
    return _fast(trained._tokenizer)


def _fast(tokenizer: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD, unk_token=UNKNOWN
    )


class PolicySize(NamedTuple):
    """Shape of a small policy. key_value_heads 0: all heads (Llama) or one (Gemma);
    intermediate_size 0: 8/3 of hidden_size.
    """

    vocabulary: int
    hidden_size: int
    layers: int
    heads: int
    key_value_heads: int = 0
    intermediate_size: int = 0


def new_policy(family: str, size: PolicySize, *, stream: Stream) -> PreTrainedModel:
    """A randomly initialised "llama" or "gemma" with tied embeddings; PAD = 0, EOS = 1."""
    shared: dict[str, Any] = {
        "vocab_size": size.vocabulary,
        "hidden_size": size.hidden_size,
        "intermediate_size": size.intermediate_size or 8 * size.hidden_size // 3,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "tie_word_embeddings": True,
        "initializer_range": INITIALIZER_RANGE,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
    }
    if family == "gemma":
        shared["head_dim"] = size.hidden_size // size.heads
        shared["num_key_value_heads"] = size.key_value_heads or 1
    elif size.key_value_heads:
        shared["num_key_value_heads"] = size.key_value_heads
    config = {"llama": LlamaConfig, "gemma": GemmaConfig}[family](**shared)
    with seeded(stream=stream):
        return AutoModelForCausalLM.from_config(config)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path | str) -> None:
    """Write model and tokenizer to `folder`, as the load functions read them."""
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """The tokenizer of a local model folder. Raises FileNotFoundError naming what is missing."""
    need_files(folder, "config.json", "tokenizer.json")
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if (
        tokenizer.pad_token is None
    ):  # Llama-2 has none; EOS must stay in training, so it cannot double as the pad
        tokenizer.pad_token = tokenizer.unk_token
    return tokenizer


def load_policy(folder: Path | str, dtype: str = "float32") -> PreTrainedModel:
    """The causal LM of a local model folder, on the accelerator if there is one, in eval mode."""
    found = read_config(folder, "model.safetensors").get("architectures") or ["of no architecture"]
    if not found[0].endswith("ForCausalLM"):
        raise ValueError(
            f"{folder} is not a causal language model but {found[0]}: it cannot be a policy"
        )
    read: Any = AutoModelForCausalLM.from_pretrained
    with quiet():
        model, loading = read(
            folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    if lost := sorted(loading["missing_keys"]):
        raise ValueError(
            f"{folder} lacks the weights {lost[:3]} ({len(lost)} in all): it was not saved whole; "
            "save it again"
        )
    return model.to(device()).eval()


def check_context(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Iterable[Prompt],
    max_new_tokens: int,
) -> None:
    """Raise ValueError naming the first Prompt that leaves no room for a response in the model's
    context.
    """
    limit = getattr(model.config, "max_position_embeddings", None) or float("inf")
    for prompt in prompts:
        length = len(encode_prompt(tokenizer, prompt.text))
        if length + max_new_tokens > limit:
            raise ValueError(
                f"prompt {prompt.id} has {length} tokens; with {max_new_tokens} new tokens that is "
                "more than the model's "
                f"context of {limit}: shorten or remove the prompt, or lower max_new_tokens"
            )


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str) -> Tokens:
    """A prompt's token ids, with BOS where the tokenizer has one (Gemma needs it)."""
    return tuple(tokenizer(text)["input_ids"])


def encode_response(tokenizer: PreTrainedTokenizerBase, text: str) -> Tokens:
    """A response's token ids, EOS at the end."""
    return (*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)


def encode_pair(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str) -> Tokens:
    """Prompt and response as a reward model reads them."""
    return encode_prompt(tokenizer, prompt) + encode_response(tokenizer, response)


def weights_digest(model: torch.nn.Module) -> str:
    """A name, 16 hex digits, of all weights with their names and types: their raw bits summed along
    rows and along columns, exactly, so that no copy of a large model is made.
    """
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[weight.itemsize]
        bits = weight.detach().contiguous().view(kind)
        bits = bits.reshape(-1, bits.shape[-1]) if bits.dim() else bits.reshape(1, 1)
        for along in (0, 1):
            digest.update(bits.sum(along, dtype=torch.int64).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
