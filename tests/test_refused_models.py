"""Models that cannot be a policy: each is refused by its name, with what to do, before anything is
trained.
"""

import json
import re

import hub_cases
import pytest
from safetensors.torch import save_file
from tokenizers import AddedToken
from transformers import (
    BartConfig,
    BloomConfig,
    FalconH1Config,
    Gemma3Config,
    GPT2Config,
    MambaConfig,
    MixtralConfig,
    Qwen3MoeConfig,
    T5Config,
)

from activedpo_lib.batch.batch import check
from activedpo_lib.method import models
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.pretrained import check_base
from activedpo_lib.supported import ModelRefused


@pytest.fixture(scope="module")
def families():
    return hub_cases.families()


@pytest.fixture
def folder(families, tmp_path):
    """A Llama 3 that is supported; each test spoils it."""
    return hub_cases.write_model(families["llama 3"], tmp_path / "model", shards=True)


def change(folder, name="config.json", drop=(), **values):
    said = json.loads((folder / name).read_text()) | values
    (folder / name).write_text(json.dumps({k: v for k, v in said.items() if k not in drop}))


def of_kind(config, architecture):
    """Spoils a folder: another config, and weights that nobody should read."""

    def spoil(folder):
        values = config.to_dict() | {"architectures": [architecture], "eos_token_id": 334}
        (folder / "config.json").write_text(json.dumps(values))
        save_file({}, folder / "model.safetensors")

    return spoil


def adapter(folder, alone):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "google/gemma-2b"}')
    if alone:
        (folder / "config.json").unlink()


def longer_tokenizer(folder):
    tokenizer = hub_cases.families()["llama 3"].tokenizer
    tokenizer.add_special_tokens([AddedToken(f"<|more_{at}|>", special=True) for at in range(9)])
    tokenizer.save(str(folder / "tokenizer.json"))


def another_tokenizer(folder):
    (folder / "chat_template.jinja").unlink()
    hub_cases.write_tokenizer(hub_cases.families()["mistral"]._replace(template=""), folder)
    change(folder, vocab_size=400)


def first_shard(folder):
    return min(folder.glob("*.safetensors"))


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 338}
# what it is, how a folder becomes one, what is said, and parameters beside the base
REFUSED = [
    ("T5", of_kind(T5Config(), "T5ForConditionalGeneration"),
     r"is an encoder-decoder \(T5ForConditionalGeneration\): .*name a decoder", {}),
    ("BART", of_kind(BartConfig(), "BartForConditionalGeneration"), "is an encoder-decoder", {}),
    ("Gemma 3 with eyes", of_kind(Gemma3Config(), "Gemma3ForConditionalGeneration"),
     r"is a multimodal wrapper \(Gemma3ForConditionalGeneration\): .*gemma-3-1b", {}),
    ("GPT-2", of_kind(GPT2Config(), "GPT2LMHeadModel"),
     "is not a causal language model but GPT2LMHeadModel", {}),
    ("Mixtral", of_kind(MixtralConfig(**SMALL), "MixtralForCausalLM"),
     r"\['gate_proj', 'up_proj', 'down_proj'\] are no linear layers of MixtralForCausalLM \(a "
     r"mixture of experts whose weights are fused parameters, as .*experts.gate_up_proj.*it has "
     r"\['k_proj', 'lm_head', 'o_proj', 'q_proj', 'v_proj'\]: set lora.targets", {}),
    ("Qwen3 of experts", of_kind(Qwen3MoeConfig(**SMALL), "Qwen3MoeForCausalLM"),
     "a mixture of experts whose weights are fused", {}),
    ("Mamba", of_kind(MambaConfig(**SMALL), "MambaForCausalLM"),
     r"a MambaForCausalLM, which keeps a running state \(LinearAttentionLayer\).*name such a", {}),
    ("Falcon H1", of_kind(FalconH1Config(**SMALL), "FalconH1ForCausalLM"),
     "a FalconH1ForCausalLM, which keeps a running state", {}),
    ("Bloom", of_kind(BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=338),
                      "BloomForCausalLM"),
     "a BloomForCausalLM, whose forward takes no position_ids: .*of another family", {}),
    ("a family of tomorrow", lambda f: change(f, model_type="llama9"),
     r"a family that the installed transformers does not know \(llama9\): renew transformers", {}),
    ("bitsandbytes", lambda f: change(
        f, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
     r"holds quantised weights \(bitsandbytes\): .*unquantised weights", {}),
    ("GPTQ", lambda f: change(f, quantization_config={"quant_method": "gptq", "bits": 4}),
     r"holds quantised weights \(gptq\)", {}),
    ("code of its own", lambda f: change(f, auto_map={"AutoModelForCausalLM": "evil.Model"}),
     r"brings code of its own \(auto_map in config.json\), which this project never runs", {}),
    ("a tokenizer's code", lambda f: change(
        f, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]}),
     r"brings code of its own \(auto_map in tokenizer_config.json\)", {}),
    ("an adapter", lambda f: adapter(f, alone=True),
     r"holds an adapter \(of google/gemma-2b\).*merge it first.*merge_and_unload", {}),
    ("a model with an adapter", lambda f: adapter(f, alone=False), "holds an adapter", {}),
    ("no tokenizer", lambda f: (f / "tokenizer.json").unlink(),
     r"is not a model folder: it lacks \['tokenizer.json'\]", {}),
    ("a longer tokenizer", longer_tokenizer,
     "its tokenizer has 344 tokens, its model rows for 335: put the tokenizer that belongs", {}),
    ("another tokenizer", another_tokenizer,
     r"ends a text with the token \[331, 334\], which is no special token of its tokenizer "
     r"\('</s>' is 2\): put the tokenizer that belongs", {}),
    ("no EOS", lambda f: change(f, "tokenizer_config.json", drop=["eos_token"]),
     "its tokenizer has no EOS.*set eos_token in tokenizer_config.json", {}),
    ("a shard missing", lambda f: first_shard(f).unlink(),
     r"it lacks \['model-00001-of-00004.safetensors'\]", {}),
    ("a pointer of git-lfs", lambda f: first_shard(f).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"),
     "its weights are not what config.json says.*git-lfs pointers.*download it again", {}),
    ("half a download", lambda f: first_shard(f).write_bytes(first_shard(f).read_bytes()[:-9]),
     "its weights are not what config.json says.*an interrupted download", {}),
    ("an absent target", lambda f: None,
     r"lora.targets \['c_attn'\] are no linear layers of LlamaForCausalLM; it has \['down_proj'",
     {"lora.targets": ["q_proj", "c_attn"]}),
    ("no chat template", lambda f: (f / "chat_template.jinja").unlink(),
     "asks for the tokenizer's chat template, and it has none.*set model.chat to false",
     {"model.chat": True}),
    ("a template with a clock", lambda f: (f / "chat_template.jinja").write_text(
        "{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}"),
     r"reads the clock \(strftime_now\).*write a fixed date", {"model.chat": True}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "message", "more"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_cannot_be_a_policy_is_refused_by_name_before_any_work(
    spoil, message, more, folder, tmp_path
):
    spoil(folder)
    params = load_params("smoke", overrides={"model.base": str(folder), **more})
    with pytest.raises((ModelRefused, FileNotFoundError)) as error:
        run_rounds(params, 0, tmp_path / "runs", log=lambda _: None)
    assert re.search(message, str(error.value)), error.value
    assert not [p for p in (tmp_path / "runs").rglob("*") if p.parent.name in ("sft", "oracle")]


def test_the_unspoilt_folder_is_taken_and_a_mixture_of_experts_by_its_attention(folder, tmp_path):
    attention = {"lora.targets": ["q_proj", "v_proj"]}
    check_base(load_params("smoke", overrides={"model.base": str(folder)}))
    of_kind(MixtralConfig(**SMALL), "MixtralForCausalLM")(folder)
    check_base(load_params("smoke", overrides={"model.base": str(folder), **attention}))


@pytest.mark.parametrize("spoil", [
    lambda f: change(f, vocab_size=400),  # the weights of another size
    lambda f: change(f, num_hidden_layers=4),  # and of fewer layers
    lambda f: [shard.unlink() for shard in f.glob("*.safetensors*")]
    + [save_file({}, f / "model.safetensors")],
], ids=["size", "layers", "none"])  # fmt: skip
def test_weights_that_are_not_the_configs_are_no_policy(spoil, folder):
    spoil(folder)
    with pytest.raises(ModelRefused, match=r"(again|not what config.json says)"):
        models.load_policy(folder)


def test_an_untied_model_without_its_head_is_refused(families, tmp_path):
    folder = hub_cases.write_model(families["qwen3"], tmp_path)  # tied: the file has no head
    change(folder, tie_word_embeddings=False)
    with pytest.raises(ModelRefused, match=r"lacks the weights \['lm_head.weight'\]"):
        models.load_policy(folder)


def test_a_batch_names_the_model_before_its_first_job(folder, tmp_path):
    profile = tmp_path / "mine.yaml"
    profile.write_text(f"""
tasks: {{tldr: {{sft_rows: 32}}}}
models: {{good: {{}}, bad: {{base: {folder}}}}}
strategies: [random]
seeds: 1
""")
    check(str(profile))
    change(folder, quantization_config={"quant_method": "awq"})
    with pytest.raises(ParamsError, match=r"model bad: .* holds quantised weights \(awq\)"):
        check(str(profile))
