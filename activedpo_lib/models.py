"""Models (floor 2): tokenizers, policies, adapters and reward models; small ones from a config, others from a folder."""

import contextlib
import logging
import os
import warnings
from pathlib import Path
from typing import ClassVar

import datasets
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    GemmaConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import SequenceClassifierOutput

EOS, PAD, UNKNOWN = "</s>", "<pad>", "<unk>"
# With the usual 0.02, copying from the prompt is not learned in the time (world.md).
INITIALIZER_RANGE = 0.08


@contextlib.contextmanager
def seeded(stream):
    """Torch's global generator set from `stream` inside the block, and as it was after it."""
    with torch.random.fork_rng():
        torch.manual_seed(stream.seed)
        yield


@contextlib.contextmanager
def quiet():
    """No progress bars, notices and deprecations of the libraries' own: a run prints one line a round."""
    from transformers.utils import logging as notices

    logger = logging.getLogger("transformers")
    level, before = logger.level, os.environ.get("TQDM_DISABLE")
    notices.disable_progress_bar()
    datasets.disable_progress_bars()
    logger.setLevel(logging.ERROR)
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
        notices.enable_progress_bar()
        datasets.enable_progress_bars()
        os.environ.pop("TQDM_DISABLE")
        if before is not None:
            os.environ["TQDM_DISABLE"] = before


def device():
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
    trained.train_from_iterator(texts, vocab_size=size, special_tokens=[PAD, EOS, UNKNOWN], show_progress=False)
    return _fast(trained._tokenizer)


def _fast(tokenizer):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD, unk_token=UNKNOWN)


def new_policy(family, vocabulary, hidden_size, layers, heads, stream):
    """A randomly initialised Llama or Gemma with tied embeddings; `vocabulary` tokens, PAD = 0, EOS = 1."""
    shared = {
        "vocab_size": vocabulary, "hidden_size": hidden_size, "intermediate_size": 8 * hidden_size // 3,
        "num_hidden_layers": layers, "num_attention_heads": heads, "tie_word_embeddings": True,
        "initializer_range": INITIALIZER_RANGE, "max_position_embeddings": 2048,
        "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None,
    }  # fmt: skip
    if family == "gemma":
        shared |= {"head_dim": hidden_size // heads, "num_key_value_heads": 1}
    config = {"llama": LlamaConfig, "gemma": GemmaConfig}[family](**shared)
    with seeded(stream):
        return AutoModelForCausalLM.from_config(config)


def load_tokenizer(folder):
    """The tokenizer of a local model folder. Raises FileNotFoundError naming what is missing."""
    _need(folder, "config.json", "tokenizer.json")
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token is None:  # Llama-2 has none; EOS must stay in training, so it cannot double as the pad
        tokenizer.pad_token = tokenizer.unk_token
    return tokenizer


def load_policy(folder, dtype="float32"):
    """The causal LM of a local model folder, on the accelerator if there is one, in eval mode."""
    _need(folder, "config.json", "model.safetensors")
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True
        )
    return model.to(device()).eval()


def _need(folder, *names):
    missing = [name for name in names if not (Path(folder) / name).is_file()]
    if "model.safetensors" in missing and (Path(folder) / "model.safetensors.index.json").is_file():
        missing.remove("model.safetensors")
    if missing:
        raise FileNotFoundError(
            f"{folder} is not a model folder: it lacks {missing}; save one there with model.save_pretrained(folder) "
            "and tokenizer.save_pretrained(folder)"
        )


def check_context(model, tokenizer, prompts, max_new_tokens):
    """Raise ValueError naming the first Prompt that leaves no room for a response in the model's context."""
    limit = getattr(model.config, "max_position_embeddings", None) or float("inf")
    for prompt in prompts:
        length = len(encode_prompt(tokenizer, prompt.text))
        if length + max_new_tokens > limit:
            raise ValueError(
                f"prompt {prompt.id} has {length} tokens; with {max_new_tokens} new tokens that is more than the model's "
                f"context of {limit}: shorten or remove the prompt, or lower max_new_tokens"
            )


def lora_config(rank, alpha, targets):
    """LoRA without dropout: the gradients that pick must be the model's own."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.0, task_type="CAUSAL_LM")


def with_adapter(base, config, stream):
    """`base` with a fresh adapter: B = 0, so the policy is still pi_SFT; adapter off, it always is (D12)."""
    from peft import get_peft_model

    with seeded(stream), quiet():
        return get_peft_model(base, config).eval()


def adapter_state(policy):
    """The adapter's tensors by name, on the CPU."""
    from peft import get_peft_model_state_dict

    return {name: value.detach().cpu().clone() for name, value in get_peft_model_state_dict(policy).items()}


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


class PooledRewardConfig(PretrainedConfig):
    """A reward model's backbone, as the dict of its own config."""

    model_type: ClassVar[str] = "pooled_reward"

    def __init__(self, backbone=None, **kwargs):
        self.backbone = backbone or {}
        super().__init__(num_labels=1, **kwargs)


class PooledRewardModel(PreTrainedModel):
    """r(x, y): (b,) from a causal backbone and a head that sees every position (mean and maximum over positions).

    A head on the last token alone learned next to nothing at this size (world.md).
    """

    config: PooledRewardConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        backbone = dict(config.backbone)
        self.model = AutoModel.from_config(AutoConfig.for_model(backbone.pop("model_type"), **backbone))
        width = self.model.config.hidden_size
        self.position = nn.Linear(width, width)
        self.pooled = nn.Linear(3 * width, 2 * width)
        self.score = nn.Linear(2 * width, 1)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        seen = torch.tanh(self.position(hidden))
        mask = attention_mask.unsqueeze(-1).to(seen.dtype)
        mean = (seen * mask).sum(1) / mask.sum(1)
        maximum = seen.masked_fill(mask == 0, -1.0).amax(1)
        last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(1)
        end = hidden[torch.arange(len(last), device=last.device), last]
        features = nn.functional.gelu(self.pooled(torch.cat([mean, maximum, end], -1)))
        return SequenceClassifierOutput(logits=self.score(features))


def new_reward_model(base, stream):
    """A reward model on the backbone of the causal LM `base`, its head freshly initialised."""
    config = PooledRewardConfig(backbone=base.config.to_dict(), pad_token_id=base.config.pad_token_id)
    with seeded(stream):
        model = PooledRewardModel(config)
    model.model.load_state_dict(base.get_decoder().state_dict())
    return model


def load_reward_model(folder):
    """A reward model saved by this project."""
    _need(folder, "config.json", "model.safetensors")
    with quiet():
        return PooledRewardModel.from_pretrained(folder, local_files_only=True).to(device()).eval()
