"""What differs between the hub's families, read from folders in the hub's layout: BOS, EOS, pads,
chat templates, heads, windows, padded vocabularies, shards.
"""

import json
from fnmatch import fnmatch

import hub_cases
import huggingface_hub.constants
import pytest
import torch
from conftest import TARGETS
from tokenizers import Tokenizer, processors

from activedpo_lib.method import adapters, models, reward_models, training
from activedpo_lib.method.generation import generate
from activedpo_lib.method.gradients import adapter_modules
from activedpo_lib.method.oracles import reward_model_score
from activedpo_lib.records import Fit, Prompt, Sampling
from activedpo_lib.runs import model_hub
from activedpo_lib.streams import stream
from activedpo_lib.supported import ModelRefused, check_policy, ends_of

NAMES = ["qwen3", "llama 3", "gemma 3", "mistral", "llama 2", "smollm 3"]
BOS = {"llama 3": "<|begin_of_text|>", "gemma 3": "<bos>", "mistral": "<s>", "llama 2": "<s>"}
PAD = {"qwen3": "<|endoftext|>", "llama 3": "<|eot_id|>", "gemma 3": "<pad>", "mistral": "<unk>",
       "llama 2": "<unk>", "smollm 3": "<|im_end|>"}  # fmt: skip
PROMPTS = [Prompt(f"p{at}", text[9 * at :].strip()) for at, text in enumerate(hub_cases.PROMPTS)]
GREEDY = Sampling(1, 12, top_k=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    return {
        name: hub_cases.write_model(family, root / name.replace(" ", "-"), shards=name != "mistral")
        for name, family in hub_cases.families().items()
    }


@pytest.fixture(params=NAMES, ids=lambda name: name.replace(" ", "_"))
def name(request):
    return request.param


@pytest.fixture
def folder(folders, name):
    return folders[name]


@pytest.fixture
def tokenizer(folder):
    return models.load_tokenizer(folder)


@pytest.fixture
def model(folder):
    return models.load_policy(folder)


def test_each_is_taken_with_the_layers_that_lora_is_put_on(folder, tokenizer, model):
    check_policy(folder, tokenizer, TARGETS)
    config = adapters.lora_config(2, 4, TARGETS)
    policy = adapters.with_adapter(model, config, stream=stream(0, "adapter"))
    assert len(adapter_modules(policy)) == 2 * 3 * len(TARGETS)  # A and B of three layers


def test_prompts_are_what_the_folders_own_tokenizer_file_says(folder, tokenizer, name):
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for prompt in PROMPTS:
        ids = models.encode_prompt(tokenizer, prompt.text)
        assert list(ids) == file.encode(prompt.text).ids
        special = [file.id_to_token(i) for i in ids if i in tokenizer.all_special_ids]
        assert special == ([BOS[name]] if name in BOS else [])


def test_bos_stands_once_where_the_text_brings_it(tokenizer, name):
    bos = BOS.get(name, "")
    ids = models.encode_prompt(tokenizer, bos + PROMPTS[0].text)
    assert ids.count(tokenizer.bos_token_id) == (name in BOS)
    assert tokenizer.decode(ids[1:] if bos else ids).strip() == PROMPTS[0].text


def test_prompt_and_response_are_split_where_the_text_is(tokenizer):
    for prompt in PROMPTS:
        apart = models.encode_pair(tokenizer, prompt.text, " friend left .")
        whole = models.encode_prompt(tokenizer, prompt.text + " friend left .")
        assert apart == (*whole, tokenizer.eos_token_id)


def test_a_response_ends_with_eos_once(tokenizer):
    for text in (" friend left", f" friend left{tokenizer.eos_token}"):
        ids = models.encode_response(tokenizer, text)
        assert ids.count(tokenizer.eos_token_id) == 1
        assert ids[-1] == tokenizer.eos_token_id


def test_no_eos_stands_behind_a_prompt_where_the_tokenizer_puts_one(folders, tmp_path):
    family = hub_cases.families()["llama 3"]
    bos, eos = (family.said[f"{end}_token"] for end in ("bos", "eos"))
    family.tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        special_tokens=[(mark, family.tokenizer.token_to_id(mark)) for mark in (bos, eos)],
    )
    found = models.load_tokenizer(hub_cases.write_model(family, tmp_path))
    usual = models.load_tokenizer(folders["llama 3"])
    assert found(PROMPTS[0].text)["input_ids"][-1] == found.eos_token_id
    for text in (PROMPTS[0].text, f"{bos}a turn{eos}"):  # the second brings its own
        assert models.encode_prompt(found, text) == models.encode_prompt(usual, text)


def test_pads(folder, tokenizer, name):
    assert tokenizer.pad_token == PAD[name]
    said = json.loads((folder / "tokenizer_config.json").read_text())
    assert ("pad_token" in said) == (name not in ("llama 3", "mistral", "llama 2"))


def test_sft_learns_eos_whatever_the_pad_is_and_the_ends_stay(
    model, tokenizer, folder, name, tmp_path
):
    """TRL's loss, at a step of no length, is the mean over all response tokens, EOS among them, of
    a forward pass of one row at a time. What is saved after it names the ends that the folder's
    generation_config.json does; the base models' here holds what the library refuses to save, a
    temperature without sampling.
    """
    ends = tokenizer.convert_tokens_to_ids(hub_cases.families()[name].ends)
    assert list(ends_of(model)) == ends
    rows = [{"prompt": p.text, "completion": " friend" * (1 + at)} for at, p in enumerate(PROMPTS)]
    losses, lasts = [], []
    for row in rows:
        prompt = models.encode_prompt(tokenizer, row["prompt"])
        response = models.encode_response(tokenizer, row["completion"])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + response])).logits[0]
        wanted = torch.tensor(response)
        each = torch.nn.functional.cross_entropy(
            logits[len(prompt) - 1 : -1], wanted, reduction="none"
        )
        losses.append(each)
        lasts.append(each[-1])
    fit = Fit(1, 0.0, len(rows))
    trained, loss = training.sft(model, tokenizer, rows, fit, stream=stream(0, "sft"))
    assert loss == pytest.approx(torch.cat(losses).mean().item(), abs=1e-4)
    without = (torch.cat(losses).sum() - sum(lasts)) / (len(torch.cat(losses)) - len(lasts))
    assert abs(without.item() - loss) > 1e-3  # so a lost EOS would have been seen
    models.save(trained, tokenizer, tmp_path)
    assert set(ends_of(models.load_policy(tmp_path))) == set(ends)
    said = json.loads((folder / "generation_config.json").read_text())
    assert ("do_sample" in said) == (name not in ("mistral", "llama 2"))


def test_greedy_tokens_are_the_librarys_with_every_end_that_the_model_names(model, tokenizer):
    """Prompts longer than the windows, of different lengths in one batch; the second time one more
    token ends a text, one that comes in the middle of what was written.
    """
    free = generate(model, tokenizer, PROMPTS, GREEDY, stream=stream(0, "greedy"))
    often = free.responses[0].tokens[len(free.responses[0].tokens) // 2]
    lengths = [len(response.tokens) for response in free.responses]
    for more in ((), (often,)):
        model.generation_config.eos_token_id = [*ends_of(model), *more]
        pool = generate(model, tokenizer, PROMPTS, GREEDY, stream=stream(0, "greedy"))
        for prompt, response in zip(pool.prompt_tokens, pool.responses, strict=True):
            ids = torch.tensor([prompt])
            truth = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12,
                do_sample=False, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
            assert tuple(truth[0, len(prompt) :].tolist()) == response.tokens
    assert len(pool.responses[0].tokens) < lengths[0]
    window = getattr(model.config, "sliding_window", None) or 0
    assert min(map(len, pool.prompt_tokens)) > window


def test_a_chat_prompt_is_the_librarys_turn_also_after_it_was_saved(tokenizer, name, tmp_path):
    if not hub_cases.families()[name].template:
        with pytest.raises(ModelRefused, match="asks for the tokenizer's chat template"):
            models.as_turns(tokenizer)
        return
    plain = models.encode_prompt(tokenizer, PROMPTS[0].text)
    tokenizer = models.as_turns(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    for found in (tokenizer, models.load_tokenizer(tmp_path)):
        for prompt in PROMPTS:
            turn = [{"role": "user", "content": prompt.text}]
            truth = found.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
            ids = models.encode_prompt(found, prompt.text)
            assert list(ids) == truth
            assert ids.count(found.bos_token_id) == (name in BOS)
    assert models.encode_prompt(tokenizer, PROMPTS[0].text) != plain


def test_shards_hold_what_one_file_holds_and_the_head_is_tied_or_not(folder, model, name, tmp_path):
    family = hub_cases.families()[name]
    whole = hub_cases.write_model(family, tmp_path, shards=name == "mistral")
    assert sorted(p.suffix for p in whole.glob("model*")) != sorted(
        p.suffix for p in folder.glob("model*")
    )
    assert models.weights_digest(models.load_policy(whole)) == models.weights_digest(model)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (name in ("qwen3", "gemma 3", "smollm 3"))


def test_a_padded_vocabularys_rows_have_no_text(model, tokenizer, name):
    rows = model.get_input_embeddings().weight.shape[0]
    assert rows - len(tokenizer) == hub_cases.families()[name].own.get("padding", 0)
    known = models.encode_response(tokenizer, " friend")[:-1]
    for beyond in range(len(tokenizer), rows):
        assert tokenizer.decode([beyond, *known]) == tokenizer.decode(known)


def test_a_reward_model_of_each_scores_a_batch_as_one_by_one(model, tokenizer):
    reward = reward_models.new_reward_model(model, stream=stream(0, "head")).eval()
    texts = [" friend" * (1 + 3 * at) for at in range(len(PROMPTS))]
    together = reward_model_score(reward, tokenizer)(PROMPTS, texts)
    alone = reward_model_score(reward, tokenizer, batch_size=1)(PROMPTS, texts)
    assert together == pytest.approx(alone, abs=1e-5)
    assert len(set(together.round(4))) > 1


def test_a_snapshot_in_the_hubs_cache_is_read_offline_with_every_file_that_is_needed(
    folder, name, tmp_path, monkeypatch
):
    """blobs by their hash, links to them, a ref that names the commit: what snapshot_download
    leaves behind.
    """
    assert not [f for f in folder.iterdir() if not any(fnmatch(f.name, p) for p in model_hub.FILES)]
    store, commit = tmp_path / "models--maker--model", "0" * 40
    for part in ("blobs", "refs", f"snapshots/{commit}"):
        (store / part).mkdir(parents=True)
    (store / "refs" / "main").write_text(commit)
    for at, file in enumerate(sorted(folder.iterdir())):
        (store / "blobs" / f"{at}").write_bytes(file.read_bytes())
        (store / "snapshots" / commit / file.name).symlink_to(f"../../blobs/{at}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = model_hub.model_folder("maker/model")
    assert found == store / "snapshots" / commit
    assert models.weights_digest(models.load_policy(found)) == models.weights_digest(
        models.load_policy(folder)
    )
    assert models.load_tokenizer(found).chat_template == models.load_tokenizer(folder).chat_template
    check_policy(found, models.load_tokenizer(found), TARGETS)
