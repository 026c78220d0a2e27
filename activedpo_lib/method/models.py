"""Tokenizers and policies: small ones from a config, others from a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GemmaConfig,
    GenerationConfig,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from activedpo_lib.records import Prompt, Tokens
from activedpo_lib.runtime import device, quiet, seeded
from activedpo_lib.streams import Stream
from activedpo_lib.supported import ModelRefused, policy_config, read_config, unreadable

EOS, PAD, UNKNOWN = "</s>", "<pad>", "<unk>"
TURNS = "prompts_are_turns"  # in tokenizer_config.json, from `as_turns`
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
    read_config(folder, "tokenizer.json")
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token is None:
        # Llama 2 has none, Llama 3 no unknown token either. No result depends on which it is: rows
        # go to the trainers with labels and masks, so EOS as a pad stays in training.
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def load_policy(folder: Path | str, dtype: str = "float32") -> PreTrainedModel:
    """The causal LM of a local model folder, on the accelerator if there is one, in eval mode.
    Raises ModelRefused where it is of another kind or was not saved whole.
    """
    policy_config(folder)
    read: Any = AutoModelForCausalLM.from_pretrained
    try:
        with quiet():
            model, loading = read(
                folder,
                dtype=getattr(torch, dtype),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (SafetensorError, RuntimeError) as error:
        raise unreadable(folder, error) from error
    if lost := sorted(loading["missing_keys"]):
        raise ModelRefused(
            f"{folder} lacks the weights {lost[:3]} ({len(lost)} in all): it was not saved whole; "
            "save it again"
        )
    # Of how it was meant to be sampled only the tokens stay: the rest is D9's, and settings that
    # contradict each other, which some models have, could not be saved after SFT.
    said = model.generation_config
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    model.generation_config = GenerationConfig(**{name: getattr(said, name) for name in names})
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


def as_turns(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer, to read a prompt as the user's turn of its chat template from now on, also
    where it is saved and loaded. Raises ModelRefused without a template, or where it writes the
    day's date into every prompt.
    """
    template = str(tokenizer.chat_template or "")
    if not template:
        raise ModelRefused(
            "model.chat asks for the tokenizer's chat template, and it has none (a base model's?): "
            "set model.chat to false, or put a chat_template.jinja into the model's folder"
        )
    if "strftime_now" in template:
        raise ModelRefused(
            "the tokenizer's chat template reads the clock (strftime_now): the same run would read "
            "other prompts tomorrow; write a fixed date into the folder's chat_template.jinja"
        )
    tokenizer.init_kwargs[TURNS] = True
    return tokenizer


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str) -> Tokens:
    """A prompt's token ids: with BOS where the tokenizer has one (Gemma needs it), once also where
    the text brings it; no EOS behind it; after `as_turns` the user's turn, without thinking.
    """
    if tokenizer.init_kwargs.get(TURNS):
        turn = [{"role": "user", "content": text}]
        render: Any = tokenizer.apply_chat_template
        text = render(turn, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    ids, (bos, eos) = tokenizer(text)["input_ids"], (tokenizer.bos_token_id, tokenizer.eos_token_id)
    if bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]
    brought = [eos] if eos is not None and text.endswith(tokenizer.eos_token) else []
    if ids[-1 - len(brought) :] == [eos, *brought]:
        ids = ids[:-1]
    return tuple(ids)


def encode_response(tokenizer: PreTrainedTokenizerBase, text: str) -> Tokens:
    """A response's token ids, one EOS at the end."""
    ids, eos = tuple(tokenizer(text, add_special_tokens=False)["input_ids"]), tokenizer.eos_token_id
    return ids if ids[-1:] == (eos,) else (*ids, eos)


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
