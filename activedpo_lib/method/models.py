"""Models: tokenizers, policies and adapters; small ones from a config, others from a folder."""

import contextlib

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GemmaConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from activedpo_lib.runtime import device, need_files, quiet, read_config, seeded

EOS, PAD, UNKNOWN = "</s>", "<pad>", "<unk>"
# With the usual 0.02, copying from the prompt is not learned in the time (world.md).
INITIALIZER_RANGE = 0.08


def word_tokenizer(words):
    """A tokenizer of whole words split at whitespace: the built-in world's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate([PAD, EOS, UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return _fast(tokenizer)


def bpe_tokenizer(texts, size):
    """A byte-level BPE tokenizer of at most `size` tokens, trained on `texts`."""
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        texts, vocab_size=size, special_tokens=[PAD, EOS, UNKNOWN], show_progress=False
    )
    return _fast(trained._tokenizer)


def _fast(tokenizer):
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD, unk_token=UNKNOWN
    )


def new_policy(
    family, vocabulary, hidden_size, layers, heads, stream, key_value_heads=0, intermediate_size=0
):
    """A randomly initialised Llama or Gemma with tied embeddings; `vocabulary` tokens, PAD = 0, EOS
    = 1.

    key_value_heads 0: all heads (Llama) or one (Gemma); intermediate_size 0: 8/3 of hidden_size.
    """
    shared = {
        "vocab_size": vocabulary,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size or 8 * hidden_size // 3,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "tie_word_embeddings": True,
        "initializer_range": INITIALIZER_RANGE,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
    }
    if family == "gemma":
        shared |= {"head_dim": hidden_size // heads, "num_key_value_heads": key_value_heads or 1}
    elif key_value_heads:
        shared["num_key_value_heads"] = key_value_heads
    config = {"llama": LlamaConfig, "gemma": GemmaConfig}[family](**shared)
    with seeded(stream):
        return AutoModelForCausalLM.from_config(config)


def save(model, tokenizer, folder):
    """Write model and tokenizer to `folder`, as the load functions read them."""
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def load_tokenizer(folder):
    """The tokenizer of a local model folder. Raises FileNotFoundError naming what is missing."""
    need_files(folder, "config.json", "tokenizer.json")
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if (
        tokenizer.pad_token is None
    ):  # Llama-2 has none; EOS must stay in training, so it cannot double as the pad
        tokenizer.pad_token = tokenizer.unk_token
    return tokenizer


def load_policy(folder, dtype="float32"):
    """The causal LM of a local model folder, on the accelerator if there is one, in eval mode."""
    found = read_config(folder, "model.safetensors").get("architectures") or ["of no architecture"]
    if not found[0].endswith("ForCausalLM"):
        raise ValueError(
            f"{folder} is not a causal language model but {found[0]}: it cannot be a policy"
        )
    with quiet():
        model, loading = AutoModelForCausalLM.from_pretrained(
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


def check_context(model, tokenizer, prompts, max_new_tokens):
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


def lora_config(rank, alpha, targets):
    """LoRA without dropout: the gradients that pick must be the model's own."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(targets),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )


def with_adapter(base, config, stream):
    """`base` with a fresh adapter: B = 0, so the policy is still pi_SFT; adapter off, it always is
    (D12).
    """
    from peft import get_peft_model

    with seeded(stream), quiet():
        return get_peft_model(base, config).eval()


def merge_adapter(policy):
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
def sft_weights(base):
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


def bare(base):
    """The base as it was loaded: without adapters that earlier policies left on it, and with
    pi_SFT's weights.

    Those policies are of no use afterwards.
    """
    for name, module in list(base.named_modules()):
        if hasattr(module, "base_layer"):
            base.set_submodule(name, module.base_layer)
    base.__dict__.pop("peft_config", None)
    return unmerge(base)


def unmerge(base):
    """The base with pi_SFT's weights for good."""
    for name, weight in base.__dict__.pop("sft_weights", {}).items():
        base.get_submodule(name).weight.data = weight
    return base


def adapter_state(policy):
    """The adapter's tensors by name, on the CPU."""
    from peft import get_peft_model_state_dict

    return {
        name: value.detach().cpu().clone()
        for name, value in get_peft_model_state_dict(policy).items()
    }


def set_adapter_state(policy, state):
    """Put `state` (from `adapter_state`) into the policy's adapter."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(policy, state)
    return policy


def encode_prompt(tokenizer, text):
    """A prompt's token ids, with BOS where the tokenizer has one (Gemma needs it)."""
    return tuple(tokenizer(text)["input_ids"])


def encode_response(tokenizer, text):
    """A response's token ids, EOS at the end."""
    return (*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)


def encode_pair(tokenizer, prompt, response):
    """Prompt and response as a reward model reads them."""
    return encode_prompt(tokenizer, prompt) + encode_response(tokenizer, response)
