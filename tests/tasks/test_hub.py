"""The hub's datasets and models, offline: small local copies in the hub's exact layout, and clear
errors without them.
"""

import os
import subprocess
import sys

import hub_cases
import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from activedpo_lib.method import models, reward_models
from activedpo_lib.method.logps import reference_logps, response_logps
from activedpo_lib.method.oracles import classifier_score
from activedpo_lib.params import load_params
from activedpo_lib.records import Prompt
from activedpo_lib.runs import artifacts, model_hub
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import labelled_pairs, open_run
from activedpo_lib.runs.saved import policy_after
from activedpo_lib.schema import TaskParams
from activedpo_lib.store import HOME
from activedpo_lib.supported import ends_of
from activedpo_lib.tasks import load_task
from activedpo_lib.tasks.files import DataError
from activedpo_lib.tasks.hub_data import tldr_comparisons, tldr_question, webgpt_comparison

POST = "SUBREDDIT: r/advice\n\nTITLE: Why {n}?\n\nPOST: my friend said {n} and left .\n\nTL;DR:"


def write_parquet(folder, split, rows):
    (folder / split).mkdir(parents=True)
    Dataset.from_list(rows).to_parquet(folder / split / "0000.parquet")


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """trl-lib/tldr, openai/webgpt_comparisons and openai/summarize_from_feedback as the parquet
    conversion lays them out.
    """
    root = tmp_path_factory.mktemp("hub")
    for split, start in (("train", 0), ("validation", 100), ("test", 200)):
        rows = [
            {"prompt": POST.format(n=start + i), "completion": f" friend said {start + i}"}
            for i in range(24)
        ]
        write_parquet(root / "tldr" / "default", split, rows)
    answers = [
        {
            "question": {
                "dataset": "eli5",
                "id": str(i),
                "full_text": f"why is the sky {i // 2} ?",
            },
            "answer_0": f"because light [1] scatters {i} [2, 3].",
            "answer_1": f"no idea {i}",
            "score_0": 0.5 - (i % 3) / 2,
            "score_1": (i % 3) / 2 - 0.5,
        }
        for i in range(60)
    ]
    write_parquet(root / "webgpt" / "default", "train", answers)
    info = {"id": "a", "post": "we met .", "title": "Met", "subreddit": "advice"}
    news = {"id": "b", "post": None, "title": None, "subreddit": None}
    summaries = [{"text": " good", "policy": "p"}, {"text": " bad", "policy": "q"}]
    rows = [
        {"info": i, "summaries": summaries, "choice": c}
        for i, c in ((info, 1), (news, 0), (info, 0))
    ]
    write_parquet(root / "feedback" / "comparisons", "train", rows)
    return root


def task_params(source, copies, **more):
    named = {
        "tldr": {"sft": str(copies / "tldr")},
        "webgpt": {"comparisons": str(copies / "webgpt")},
    }[source]
    return TaskParams(name=source, source=source, **named, **more)


def test_tldr_reads_demonstrations_pool_and_evaluation_from_three_parts(copies):
    task = load_task(task_params("tldr", copies), 5)
    assert [len(part) for part in (task.sft, task.prompts, task.evaluation)] == [24, 24, 5]
    assert task.sft[0] == {"prompt": POST.format(n=0), "completion": " friend said 0"}
    assert task.prompts[0].text == POST.format(n=100)
    assert task.evaluation[0].text == POST.format(n=200)
    assert task.prompts[0].question == "my friend said 100 and left . TLDR;"


def test_tldr_questions_are_what_the_reward_model_was_trained_on():
    assert (
        tldr_question("SUBREDDIT: r/a\n\nTITLE: t\n\nPOST: first line\nsecond\n\nTL;DR:")
        == "first line\nsecond TLDR;"
    )
    with pytest.raises(DataError, match="must end with 'POST"):
        tldr_question("a question")


def test_human_comparisons_of_summaries_leave_out_the_news(copies):
    found = tldr_comparisons(str(copies / "feedback"), None)
    assert [(row.chosen, row.rejected) for row in found] == [(" bad", " good"), (" good", " bad")]
    assert found[0].prompt == "SUBREDDIT: r/advice\n\nTITLE: Met\n\nPOST: we met .\n\nTL;DR:"


def test_webgpt_is_split_by_question_without_ties_and_citation_marks(copies):
    task = load_task(task_params("webgpt", copies), 4)
    sides = [
        {row["prompt"] for row in task.sft},
        {p.text for p in task.prompts},
        {p.text for p in task.evaluation},
    ]
    assert len(set.union(*sides)) == sum(map(len, sides))
    assert all("[" not in row["completion"] for row in task.sft)
    assert task.prompts[0].text == f"Question: {task.prompts[0].question}\n\nAnswer:"
    compared = (*task.comparisons, *task.held_out)
    assert compared
    assert not any(
        int(c.chosen.split()[-1].strip(".")) % 3 == 1 for c in compared
    )  # i % 3 == 1 is a tie


def test_tldr_comparisons_of_a_post_stand_on_one_side_and_evaluations_posts_are_not_trained_on(
    copies, tmp_path
):
    rows = [
        {
            "info": {"id": str(n), "post": f"my friend said {n} and left .", "title": f"Why {n}?",
                     "subreddit": "advice"},
            "summaries": [{"text": f" good {k}", "policy": "p"}, {"text": " bad", "policy": "q"}],
            "choice": 0,
        }
        for k in range(3)
        for n in range(198, 228)
    ]  # fmt: skip
    write_parquet(tmp_path / "comparisons", "train", rows)
    task = load_task(task_params("tldr", copies, comparisons=str(tmp_path)), 5)
    trained, held = ({c.prompt for c in side} for side in (task.comparisons, task.held_out))
    evaluated = {prompt.text for prompt in task.evaluation}
    assert not trained & held
    assert evaluated == held & evaluated
    assert len(trained) + len(held) == 30
    assert len(held) == 5 + 3  # evaluation's five, and a tenth of the others
    assert len(task.comparisons) == 3 * len(trained)


def test_the_preferred_answer_is_chosen():
    row = {"answer_0": "a [1]", "answer_1": "b", "score_0": -1.0, "score_1": 1.0}
    found = webgpt_comparison("why", row)
    assert (found.prompt, found.chosen, found.rejected) == ("Question: why\n\nAnswer:", " b", " a")
    assert webgpt_comparison("why", row | {"score_0": 0.0, "score_1": 0.0}) is None


def test_a_missing_column_is_named(copies, tmp_path):
    write_parquet(
        tmp_path / "default", "train", [{"question": {"full_text": "why"}, "answer_0": "a"}]
    )
    with pytest.raises(DataError, match="'answer_1' is missing; it has"):
        load_task(TaskParams(name="w", source="webgpt", comparisons=str(tmp_path)), 1)


@pytest.mark.parametrize("source", ["tldr", "webgpt"])
def test_an_unreachable_dataset_is_one_error_that_says_what_to_do(source):
    with pytest.raises(DataError, match=r"is not at hand.*hf download --repo-type dataset"):
        load_task(TaskParams(name=source, source=source), 1)


def test_an_unreachable_model_is_one_error_that_says_what_to_do():
    with pytest.raises(
        FileNotFoundError,
        match=r"google/gemma-2b is not at hand.*activedpo_lib.runs.model_hub google/gemma-2b "
        r"models/gemma-2b",
    ):
        model_hub.model_folder("google/gemma-2b")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("google/gemma-2b", "google/gemma-2b is not at hand"),
        ("nowhere", "nowhere is no folder, and no hub name"),
        ("{empty}", "has no weights"),
    ],
)
def test_the_download_command_says_in_one_line_what_is_missing(name, message, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    named = name.format(empty=tmp_path / "empty")
    assert model_hub.main([named, str(tmp_path / "to")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_the_paper_profile_offline_stops_before_any_work_and_names_what_is_missing():
    done = subprocess.run(
        [sys.executable, "-m", "activedpo_lib.batch.batch", "paper"],
        cwd=HOME,
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 2
    assert "trl-lib/tldr is not at hand" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_paper_profile_has_the_papers_values():
    params = load_params("paper", "tldr", "gemma")
    assert (params.generation.prompts, params.generation.responses, params.batch_size) == (
        1000,
        3,
        50,
    )
    assert (params.sft.epochs, params.sft.learning_rate) == (1, 2e-5)
    assert (params.dpo.epochs, params.dpo.learning_rate) == (4, 1e-4)
    assert (params.lora.rank, params.lora.alpha, params.selection.dimensions) == (128, 512, 8192)
    assert params.evaluation.prompts == 100
    oracles = {t: load_params("paper", t).task.reward_model for t in ("tldr", "webgpt")}
    assert oracles["tldr"] == "OpenAssistant/reward-model-deberta-v3-large"
    assert oracles["webgpt"] == "OpenAssistant/reward-model-deberta-v3-large-v2"


def bos_tokenizer():
    """A tokenizer as Llama-2's: BOS in front of what is encoded, no pad token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {
        w: i
        for i, w in enumerate(
            ["<unk>", "<s>", "</s>", *"why is the sky blue because light".split()]
        )
    }
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def test_a_llama_tokenizer_gets_bos_on_prompts_eos_on_responses_and_a_pad_that_is_not_eos(tmp_path):
    bos_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    tokenizer = models.load_tokenizer(tmp_path)
    assert models.encode_prompt(tokenizer, "why is the sky") == (1, 3, 4, 5, 6)
    assert models.encode_response(tokenizer, " because light") == (8, 9, 2)
    assert tokenizer.pad_token_id == 0


PIECES = "why is the sky blue because light scatters".split()


@pytest.fixture(scope="module")
def deberta(tmp_path_factory):
    """A small reward model in the layout of reward-model-deberta-v3-large, its weights as random as
    they come.
    """
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, DebertaV2Tokenizer

    folder = tmp_path_factory.mktemp("deberta")
    special = [(name, 0.0) for name in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")]
    letters = [(letter, -8.0) for letter in "▁abcdefghijklmnopqrstuvwxyz?."]
    tokenizer = DebertaV2Tokenizer(
        vocab=[*special, *(("▁" + piece, -2.0) for piece in PIECES), *letters, ("[MASK]", 0.0)]
    )
    tokenizer.save_pretrained(folder)
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=1,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
    )
    torch.manual_seed(0)
    DebertaV2ForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_deberta_reads_question_and_answer_between_its_marks(deberta):
    tokenizer = models.load_tokenizer(deberta)
    ids = tokenizer("why is the sky blue?", "because light scatters.")["input_ids"]
    assert ids == [
        1,
        4,
        5,
        6,
        7,
        8,
        tokenizer.convert_tokens_to_ids("?"),
        2,
        9,
        10,
        11,
        tokenizer.convert_tokens_to_ids("."),
        2,
    ]


def test_a_classifier_scores_the_question_and_not_the_policys_prompt(deberta):
    model, tokenizer = reward_models.load_classifier(deberta), models.load_tokenizer(deberta)
    prompts = [
        Prompt("a", "Question: why\n\nAnswer:", question="why is the sky blue?"),
        Prompt("b", "why is light?"),
    ]
    found = classifier_score(model, tokenizer, batch_size=2)(
        prompts, [" because light.", "the sky"]
    )
    for at, (question, answer) in enumerate(
        [("why is the sky blue?", "because light."), ("why is light?", "the sky")]
    ):
        with torch.inference_mode():
            truth = model(**tokenizer(question, answer, return_tensors="pt")).logits.item()
        assert found[at] == pytest.approx(truth, abs=1e-5)
    assert found[0] != pytest.approx(found[1], abs=1e-6)


def test_a_run_labels_with_the_tasks_classifier_and_is_judged_by_another(deberta, tmp_path):
    overrides = {
        "task.reward_model": str(deberta), "evaluation.evaluator": "trained", "task.sft_rows": 32,
        "task.comparison_rows": 40, "rounds": 1,
    }  # fmt: skip
    table = run_rounds(
        load_params("smoke", strategy="random", overrides=overrides),
        0,
        tmp_path,
        log=lambda _: None,
    )
    assert np.isfinite(table["evaluator_reward"]).all()
    assert table["evaluator_win_rate"].iloc[0] == 0.5
    assert not np.allclose(table["evaluator_reward"], table["reward"])


def test_a_classifier_with_two_logits_is_no_reward_model(deberta, tmp_path):
    import json
    import shutil

    folder = shutil.copytree(deberta, tmp_path / "two")
    config = json.loads((folder / "config.json").read_text()) | {
        "id2label": {"0": "a", "1": "b"},
        "num_labels": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="with 2 labels; a sequence classifier with one is needed"):
        reward_models.load_classifier(folder)


def test_pickled_weights_are_rewritten_and_a_pickle_with_code_is_refused(deberta, tmp_path):
    from safetensors.torch import load_file

    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_bytes((deberta / "config.json").read_bytes())
    tensors = load_file(deberta / "model.safetensors")
    torch.save(tensors, source / "pytorch_model.bin")
    folder = model_hub.fetch(str(source), tmp_path / "rewritten")
    rewritten = load_file(folder / "model.safetensors")
    assert all(torch.equal(rewritten[name], value) for name, value in tensors.items())
    torch.save({"a": Prompt("a", "b")}, source / "pytorch_model.bin")
    with pytest.raises(ValueError, match="holds more than tensors"):
        model_hub.fetch(str(source), tmp_path / "refused")


def test_a_hub_task_is_run_end_to_end_from_local_copies(copies, deberta, tmp_path):
    """A small model trained on the copies, the classifier as oracle: every step of the paper's
    profile but its size.
    """
    profile = tmp_path / "hub.yaml"
    profile.write_text(f"""
profile: hub
tasks:
  webgpt:
    source: webgpt
    comparisons: {copies / "webgpt"}
    reward_model: {deberta}
    max_new_tokens: 8
models: {{llama: {{base: config, hidden_size: 32, vocabulary: 300, pretrain_epochs: 1}}}}
strategies: [activedpo]
seeds: 1
rounds: 2
batch_size: 4
generation: {{prompts: 6}}
evaluation: {{prompts: 4, responses: 2}}
selection: {{dimensions: 32}}
lora: {{rank: 2, alpha: 8, targets: [q_proj, v_proj]}}
""")
    table = run_rounds(load_params(str(profile)), 0, tmp_path / "runs", log=lambda _: None)
    assert table["labels"].tolist() == [0, 4, 8]
    assert np.isfinite(table["reward"]).all()
    assert artifacts.made(next((tmp_path / "runs" / "sft").glob("*/*/*")))["loss"] > 0


SHRUNK = {
    "rounds": 2, "batch_size": 4, "task.max_new_tokens": 8, "generation.prompts": 6,
    "evaluation.prompts": 4, "evaluation.responses": 2, "selection.dimensions": 32,
    "selection.memory_mib": 64, "lora.rank": 4, "lora.alpha": 16,
}  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "source", "model", "family", "chat"),
    [
        ("qwen3", "webgpt", "qwen3", "qwen3", True),
        pytest.param("paper", "tldr", "llama", "llama 3", False, marks=pytest.mark.slow),
    ],
)
def test_whole_rounds_of_a_profile_from_a_folder_of_each_family(
    profile, source, model, family, chat, copies, deberta, tmp_path
):
    """The profile as it is (bfloat16, its targets, checkpointing) but for its sizes, on folders of
    the hub's layout. What came is held to the tokenizer's own template, to the reward model read
    one answer at a time, and to pi_SFT's own weights.
    """
    family = hub_cases.families()[family]
    base = hub_cases.write_model(family, tmp_path / "base", shards=True)
    named = {"tldr": {"task.sft": str(copies / "tldr")},
             "webgpt": {"task.comparisons": str(copies / "webgpt")}}[source]  # fmt: skip
    given = {"model.base": str(base), "model.chat": chat, "task.reward_model": str(deberta)}
    params = load_params(profile, source, model, overrides=SHRUNK | named | given)
    table = run_rounds(params, 0, tmp_path / "runs", log=lambda _: None)
    assert table["labels"].tolist() == [0, 4, 8]
    assert np.isfinite(table["reward"]).all()
    assert table["dpo_loss"].iloc[1] == pytest.approx(np.log(2), abs=0.05)  # pi is pi_ref at first

    run = open_run(params, 0, tmp_path / "runs", log=lambda _: None)
    labelled = labelled_pairs(params, 0, tmp_path / "runs")
    assert len(labelled) == 8
    judge, reader = reward_models.load_classifier(deberta), models.load_tokenizer(deberta)
    plain, ends = AutoTokenizer.from_pretrained(base), ends_of(run.base)
    assert len(ends) == 2
    for pair in labelled:
        turn = [{"role": "user", "content": pair.prompt.text}]
        how = {"add_generation_prompt": True, "return_dict": False, "enable_thinking": False}
        ids = plain.apply_chat_template(turn, **how) if chat else plain(pair.prompt.text).input_ids
        assert list(pair.prompt_tokens) == ids
        scores = []
        for response in (pair.chosen, pair.rejected):
            assert response.tokens[-1] in ends or len(response.tokens) == 8
            assert not set(response.tokens[:-1]) & set(ends)
            read = reader(pair.prompt.question, response.text.strip(), return_tensors="pt")
            with torch.inference_mode():
                scores.append(judge(**read).logits.item())
        assert scores[0] > scores[1] - 1e-6

    prompts = [pair.prompt_tokens for pair in labelled]
    responses = [pair.chosen.tokens for pair in labelled]
    policy = policy_after(run, 2)
    now, theirs = response_logps(policy, prompts, responses), reference_logps(
        policy, prompts, responses
    )  # fmt: skip
    folder = artifacts.sft_folder(params, 0, tmp_path / "runs")
    sft = models.load_policy(folder, params.model.dtype)
    np.testing.assert_allclose(theirs, response_logps(sft, prompts, responses), atol=1e-6)
    assert np.abs(now - theirs).max() > 0
