"""Models of the families that people will try next, as the hub lays them out: random weights of
their own config classes, tokenizers trained here in each family's style.
"""

import json
import re
from typing import NamedTuple

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen3Config,
    SmolLM3Config,
)

TEXTS = [
    f"SUBREDDIT: r/advice\n\nTITLE: Why {n}?\n\nPOST: my friend said {n} and left .\n\nTL;DR: {end}"
    for n in range(12)
    for end in ("friend said so and left", "the sky is blue because light scatters")
]
PROMPTS = [text.rsplit(" friend", 1)[0] for text in TEXTS[:8:2]]
WORDS = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+")


def byte_level(special, start=None):
    """BPE over bytes: Qwen's, Llama 3's (which puts `start` in front) and SmolLM's style."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORDS, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    # As on the hub: special tokens come last.
    made.add_special_tokens([AddedToken(token, special=True) for token in special])
    return _starting_with(made, start)


def sentencepiece(special, start, prefix=""):
    """BPE over letters with bytes to fall back on: Gemma's style. With `prefix` a space stands in
    front of every text: by the pre-tokenizer (Mistral), or the older way by a normalizer (Llama 2).
    """
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if prefix:
        if prefix == "pre-tokenizer":
            made.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        else:
            made.normalizer = normalizers.Sequence(
                [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
            )
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
             decoders.Strip(" ", 1, 0)]
        )  # fmt: skip
    else:
        made.normalizer = normalizers.Replace(" ", "▁")
        made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=[*special, *bytes_], show_progress=False
    )
    # Words apart, one space in front, so that no piece spans two.
    one = r"[^ ]+" if made.normalizer and prefix else r" ?[^ ]+"
    words = (word for text in TEXTS for word in re.findall(one, text))
    made.train_from_iterator(words, trainer)
    as_json = json.loads(made.to_str())
    as_json["added_tokens"] = [t for t in as_json["added_tokens"] if t["content"] in special]
    return _starting_with(Tokenizer.from_str(json.dumps(as_json)), start)


def _starting_with(made, start):
    if start:
        made.post_processor = processors.TemplateProcessing(
            single=f"{start} $A",
            pair=f"{start} $A {start} $B",
            special_tokens=[(start, made.token_to_id(start))],
        )
    return made


def chat(bos, head, tail):
    """A chat template: each message between `head` (with its role) and `tail`."""
    start, end = head.split("ROLE")
    return (
        (f"{{{{ '{bos}' }}}}" if bos else "")
        + "{% for m in messages %}"
        + f"{{{{ '{start}' + m['role'] + '{end}' + m['content'] + '{tail}' }}}}"
        + "{% endfor %}"
        + f"{{% if add_generation_prompt %}}{{{{ '{start}assistant{end}' }}}}{{% endif %}}"
    )


class Family(NamedTuple):
    """A family: its config class and what is its own there, tokenizer, its tokenizer_config.json,
    chat template ("": none), and the tokens that generation_config.json names as ends.
    """

    config: type[PretrainedConfig]
    own: dict
    tokenizer: Tokenizer
    said: dict
    template: str = ""
    ends: tuple[str, ...] = ()


SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
         "<|eot_id|>"]  # fmt: skip
GEMMA = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
SPACED = {
    "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>",
    "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False,
}  # fmt: skip


def families():
    """{name: Family}."""
    return {
        # wide, normed heads; tied; no BOS; a pad of its own; the vocabulary padded
        "qwen3": Family(
            Qwen3Config, {"head_dim": 16, "tie_word_embeddings": True, "padding": 40},
            byte_level(MARKS),
            {"tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": "<|im_end|>",
             "pad_token": "<|endoftext|>", "unk_token": None, "add_bos_token": False},
            chat("", "<|im_start|>ROLE\\n", "<|im_end|>\\n"), ("<|im_end|>", "<|endoftext|>"),
        ),
        # untied; BOS; no pad and no unknown token; its turns end with another token than its texts
        "llama 3": Family(
            LlamaConfig, {"rope_theta": 5e5, "tie_word_embeddings": False},
            byte_level(LLAMA, "<|begin_of_text|>"),
            {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>",
             "eos_token": "<|eot_id|>"},
            chat("<|begin_of_text|>", "<|start_header_id|>ROLE<|end_header_id|>\\n\\n",
                 "<|eot_id|>"),
            ("<|end_of_text|>", "<|eot_id|>"),
        ),
        # sliding windows shorter than the prompts, then a full layer; a pad of its own
        "gemma 3": Family(
            Gemma3TextConfig,
            {"head_dim": 16, "sliding_window": 6, "layer_types":
             ["sliding_attention", "sliding_attention", "full_attention"], "padding": 64},
            sentencepiece(GEMMA, "<bos>"),
            {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>",
             "pad_token": "<pad>", "unk_token": "<unk>", "add_bos_token": True},
            chat("<bos>", "<start_of_turn>ROLE\\n", "<end_of_turn>\\n"), ("<eos>", "<end_of_turn>"),
        ),
        # base models: no template, no pad; the space in front of a text
        "mistral": Family(
            MistralConfig, {"sliding_window": 6},
            sentencepiece(["<unk>", "<s>", "</s>"], "<s>", "pre-tokenizer"), SPACED, ends=("</s>",),
        ),
        "llama 2": Family(
            LlamaConfig, {"num_key_value_heads": 4},
            sentencepiece(["<unk>", "<s>", "</s>"], "<s>", "normalizer"), SPACED, ends=("</s>",),
        ),
        # the pad is EOS; a layer without positions
        "smollm 3": Family(
            SmolLM3Config, {"no_rope_layers": [1, 1, 0]},
            byte_level(MARKS),
            {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None,
             "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
            chat("", "<|im_start|>ROLE\\n", "<|im_end|>\\n"), ("<|im_end|>",),
        ),
    }  # fmt: skip


def write_tokenizer(family, folder):
    """tokenizer.json, tokenizer_config.json and chat_template.jinja, as the hub has them."""
    folder.mkdir(parents=True, exist_ok=True)
    family.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(family.said | {"model_max_length": 512, "clean_up_tokenization_spaces": False})
    )
    if family.template:
        (folder / "chat_template.jinja").write_text(family.template)


def write_model(family, folder, shards=False, **more):
    """The family's model folder; with `shards` its weights in several files and an index."""
    write_tokenizer(family, folder)
    ids = [family.tokenizer.token_to_id(token) for token in family.ends]
    named = {
        f"{role}_token_id": family.tokenizer.token_to_id(family.said[f"{role}_token"])
        for role in ("bos", "pad")
        if family.said.get(f"{role}_token")
    }
    own = {"pad_token_id": None, "bos_token_id": None, **named, **family.own, **more}
    rows = family.tokenizer.get_vocab_size() + own.pop("padding", 0)
    eos = family.tokenizer.token_to_id(family.said["eos_token"])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        family.config(vocab_size=rows, eos_token_id=eos, **SHAPE | own)
    )
    model.save_pretrained(folder, max_shard_size="60KB" if shards else "5GB")
    # Without `do_sample` the library reads these settings, and refuses to save them.
    sampled = {"temperature": 0.6, "top_p": 0.95} | ({"do_sample": True} if family.template else {})
    said = {"eos_token_id": ids, **sampled, **named}
    (folder / "generation_config.json").write_text(json.dumps(said))
    return folder
