"""What a user may get wrong, and the message each gets before any long work starts."""

import json

import numpy as np
import pytest
import yaml
from conftest import make_policy, make_sequences
from hypothesis import given, settings
from hypothesis import strategies as st

from activedpo_lib.method import models, reward_models
from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.oracles import OracleFailed, finite
from activedpo_lib.params import ParamsError, load_grid, load_params
from activedpo_lib.records import Task
from activedpo_lib.runs import steps
from activedpo_lib.runs.artifacts import load_oracle
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.tasks.files import DataError, read_rows
from activedpo_lib.tasks.pools import scarcity_warning

# --- params: one override each, and what is said of it

PARAMS = [
    ({"batchsize": 4}, "unknown parameter batchsize; did you mean batch_size?"),
    (
        {"dpo.learning_rates": 0.1},
        "unknown parameter dpo.learning_rates; did you mean dpo.learning_rate?",
    ),
    ({"zzz": "red"}, "unknown parameter zzz; known keys are"),
    ({"rounds": 0}, "rounds must be at least 1 rounds, got 0"),
    ({"rounds": -3}, "rounds must be at least 1 rounds, got -3"),
    ({"rounds": 2.5}, "rounds must be int, got float 2.5"),
    ({"rounds": "six"}, "rounds must be int, got str 'six'"),
    ({"rounds": True}, "rounds must be int, got bool True"),
    ({"rounds": None}, "rounds must be int, got NoneType None"),
    ({"batch_size": 0}, "batch_size must be at least 1 labels per round, got 0"),
    ({"batch_size": 100_000}, "batch_size 100000 is more than a round's pool"),
    ({"processes": 0}, "processes must be at least 1"),
    (
        {"dpo.learning_rate": "1e-4"},
        r"must be float, got str '1e-4' \(YAML reads 1e-5 as text: write 1.0e-5\)",
    ),
    ({"dpo.learning_rate": -1e-4}, "dpo.learning_rate must be at least 0.0, got -0.0001"),
    ({"dpo.learning_rate": float("nan")}, r"dpo.learning_rate is not a number \(NaN\)"),
    ({"dpo.learning_rate": float("inf")}, "dpo.learning_rate must be at most 1.0, got inf"),
    ({"dpo.beta": 0.0}, "dpo.beta must be at least 1e-06, got 0.0"),
    ({"dpo.beta": float("inf")}, "dpo.beta is infinite"),
    ({"dpo.epochs": -1}, "dpo.epochs must be at least 0.0 epochs"),
    ({"dpo.warmup": 1.5}, "dpo.warmup must be at most 1.0"),
    (
        {"dpo.train_on": "old"},
        r"dpo.train_on must be one of \['new', 'all', 'all_from_sft'\], got 'old'",
    ),
    ({"dpo": 3}, "dpo.: expected a mapping, got 3"),
    (
        {"processes": 2, "generation.prompts": 1, "batch_size": 1},
        "processes is 2, but generation.prompts and evaluation.prompts are 1 and 8",
    ),
    (
        {"lora.fresh": True, "dpo.train_on": "all_from_sft"},
        "lora.fresh with dpo.train_on all_from_sft is impossible",
    ),
    ({"adapters": "last", "processes": 2}, "adapters last with several processes is impossible"),
    (
        {"processes": 2, "evaluation.prompts": 1},
        "processes is 2, but generation.prompts and evaluation.prompts are 12 and 1",
    ),
    ({"rounds.more": 3}, "rounds.more: rounds is a value, not a section"),
    ({"generation.prompts": 0}, "generation.prompts must be at least 1"),
    ({"generation.prompts": 10_000}, "generation.prompts 10000 is more than task.prompt_rows"),
    (
        {"generation.responses": 1},
        "generation.responses must be at least 2 responses per prompt, got 1",
    ),
    ({"generation.temperature": 0.0}, "generation.temperature must be at least 0.001, got 0.0"),
    ({"generation.temperature": 99.0}, "generation.temperature must be at most 10.0, got 99.0"),
    ({"selection.ridge": -1.0}, "selection.ridge must be above 0"),
    ({"selection.ridge": 0.0}, "selection.ridge must be above 0"),
    ({"selection.ridge_is": "half"}, "selection.ridge_is must be one of"),
    ({"selection.projection": "folded"}, r"selection.projection must be one of \['fold'"),
    ({"selection.dimensions": 0}, "selection.dimensions must be at least 1"),
    ({"selection.normalise": "both"}, "selection.normalise must be one of"),
    (
        {"selection.normalise": "pair", "selection.normalise_when": "before"},
        "normalise pair with normalise_when before",
    ),
    ({"selection.repeat_prompts": 1}, "selection.repeat_prompts must be bool, got int 1"),
    ({"selection.memory_mib": -1}, "selection.memory_mib must be at least 0"),
    ({"oracle.kind": "person"}, "oracle.kind must be one of"),
    ({"oracle.kind": "human"}, "oracle.kind human needs oracle.labeller, your name"),
    ({"oracle.flip": 0.6}, "oracle.flip must be at most 0.5"),
    ({"lora.rank": 0}, "lora.rank must be at least 1"),
    ({"lora.targets": []}, r"lora.targets must be a list of names, got \[\]"),
    ({"lora.targets": "q_proj"}, "lora.targets must be a list of names, got 'q_proj'"),
    ({"lora.targets": [1]}, r"lora.targets must be a list of names, got \[1\]"),
    ({"model.heads": 5}, "model.hidden_size 96 must be a multiple of heads 5"),
    ({"model.dtype": "float8"}, "model.dtype must be one of"),
    ({"model.chat": True}, "model.chat with model.base world is impossible"),
    ({"model.trust_remote_code": True}, "unknown parameter model.trust_remote_code"),
    ({"task.max_new_tokens": 0}, "task.max_new_tokens must be at least 1"),
    ({"task.source": "web"}, "task.source must be one of"),
    ({"task.damaged": 2.0}, "task.damaged must be at most 1.0"),
    ({"evaluation.prompts": 0}, "evaluation.prompts must be at least 1"),
    ({"generation.top_p": 0.0}, "generation.top_p must be above 0 probability kept, got 0.0"),
    ({"generation.top_p": 1.5}, "generation.top_p must be at most 1.0"),
    ({"generation.top_k": -1}, "generation.top_k must be at least 0"),
    ({"task.skew": -1.0}, "task.skew must be at least 0.0"),
    ({"selection.past": "forget"}, r"selection.past must be one of \['reembed', 'keep', 'none'\]"),
    ({"lora.fresh": "yes"}, "lora.fresh must be bool, got str 'yes'"),
    (
        {"replay": True, "batch_size": 13},
        "batch_size 13 is more than a round's pool of 12 comparisons",
    ),
    ({"ceiling": "all"}, r"ceiling must be one of \['', 'matching', 'largest_gap'\], got 'all'"),
    (
        {"ceiling": "matching", "strategy": "activedpo"},
        "ceiling matching picks in the strategy's place, so the strategy must be random",
    ),
    (
        {"ceiling": "matching", "strategy": "random", "processes": 2},
        "ceiling matching runs in one process: set processes to 1",
    ),
    (
        {"strategy": "largest_gap"},
        "largest_gap is no strategy: it reads the oracle's rewards before it picks",
    ),
    ({"oracle.after_first": "me"}, "oracle.after_first must be one of .*'posterior', 'coin'"),
    (
        {"oracle.after_first": "coin", "replay": True},
        "oracle.after_first coin with replay is impossible: there, humans have answered",
    ),
    (
        {"oracle.after_first": "posterior", "processes": 2},
        "oracle.after_first posterior runs in one process: set processes to 1",
    ),
    (
        {"oracle.after_first": "posterior", "selection.past": "none"},
        "oracle.after_first posterior with selection.past none is impossible",
    ),
    (
        {"strategy": "epig", "selection.target_prompts": 0},
        "selection.target_prompts must be at least 1 prompts for the strategy epig, got 0: .*"
        "set it to 1 or more",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), PARAMS, ids=str)
def test_bad_params_are_named(overrides, message):
    with pytest.raises(ParamsError, match=message):
        load_params("smoke", overrides=overrides)


@pytest.mark.parametrize(("cell", "message"), [
    ({"task": "tl;dr"}, "no task 'tl;dr' in the profile; it has"),
    ({"model": "gpt"}, "no model 'gpt' in the profile; it has"),
])  # fmt: skip
def test_an_unknown_cell_is_named(cell, message):
    with pytest.raises(ParamsError, match=message):
        load_params("smoke", **cell)


# --- a batch that leaves little to choose from: said, and not refused


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"batch_size": 1}, ""),  # 1 of 36
        ({"batch_size": 2}, "2 labels a round are 5.6% of the pool's 36 pairs, more than 3%"),
        ({"replay": True}, "6 labels a round are 50.0% of the pool's 12 pairs, more than 3%"),
        ({"generation.prompts": 67}, ""),  # 6 of 201
        ({"generation.responses": 2}, "6 labels a round are 50.0% of the pool's 12 pairs"),
    ],
)
def test_a_batch_larger_than_a_scarce_budget_is_warned_of_with_its_ratio(overrides, said):
    found = scarcity_warning(load_params("smoke", overrides=overrides))
    assert said in found
    assert bool(found) == bool(said)


def test_a_run_warns_once_when_it_starts(tmp_path):
    small = {"oracle.kind": "utility", "task.sft_rows": 32}
    params, said = load_params("smoke", strategy="random", overrides=small), []
    for _ in range(2):
        run_rounds(params, 0, tmp_path, log=said.append)
    assert [line for line in said if "warning" in line] == [f"[tldr] {scarcity_warning(params)}"]


def test_a_study_on_real_text_that_needs_the_truth_says_what_to_set():
    for key in ("skew", "evaluation_skew", "junk"):
        with pytest.raises(ParamsError, match=f"task.{key} 0.5 is of the built-in world alone"):
            load_params("files", overrides={f"task.{key}": 0.5})


def test_the_true_utility_of_real_text_is_refused_at_once_and_again_where_it_would_be_read(
    tmp_path,
):
    with pytest.raises(ParamsError, match=r"needs a known truth, and task\.source files"):
        load_params("files", overrides={"oracle.kind": "utility"})
    params = load_params("smoke", overrides={"oracle.kind": "utility"})
    real = Task("qa", (), (), (), (), ())
    with pytest.raises(ValueError, match="needs a known truth, and qa is real text"):
        load_oracle(params, real, tmp_path)
    assert not list(tmp_path.iterdir())  # nothing was trained


def test_a_strategy_that_asks_nothing_of_held_out_prompts_may_have_none():
    found = load_params("smoke", strategy="bald", overrides={"selection.target_prompts": 0})
    assert found.selection.target_prompts == 0


# --- profiles: a YAML file each

PROFILES = [
    ("tasks: [", "not valid YAML"),
    ("- a\n- b", "expected a mapping of parameters, got list"),
    ("", "expected a mapping of parameters, got NoneType"),
    ("models: {m: {}}\nstrategies: [random]\nseeds: 1", "tasks must be a dict, got None"),
    (
        "tasks: {t: {}}\nmodels: {m: {}}\nstrategies: random\nseeds: 1",
        "strategies must be a list, got 'random'",
    ),
    (
        "tasks: {t: {}}\nmodels: {m: {}}\nstrategies: []\nseeds: 1",
        r"strategies is \[\]; at least one is needed",
    ),
    (
        "tasks: {t: {}}\nmodels: {m: {}}\nstrategies: [random]\nseeds: 0",
        "seeds is 0; at least one is needed",
    ),
    (
        "tasks: {t: {}}\nmodels: {m: {}}\nstrategies: [random]\nseeds: many",
        "seeds must be a int, got 'many'",
    ),
    (
        "tasks: {}\nmodels: {m: {}}\nstrategies: [random]\nseeds: 1",
        "tasks is {}; at least one is needed",
    ),
    (
        "tasks: {t: {}}\nmodels: {m: {}}\nstrategies: [random]\nseeds: 1\njobs_per_gpu: 0",
        "jobs_per_gpu must be a whole",
    ),
]


@pytest.mark.parametrize(("text", "message"), PROFILES)
def test_a_bad_profile_is_named(text, message, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ParamsError, match=message):
        load_grid(str(tmp_path / "mine.yaml"))


# --- the user's rows: one line of a file each

TWICE = json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"})
ROWS = [
    ("not json", "line 1: not JSON"),
    ("[1, 2]", "line 1: expected a JSON object, got list"),
    ('{"prompt": "a", "chosen": "b"}', "line 1: the column 'rejected' is missing; it has"),
    ('{"prompt": 3, "chosen": "b", "rejected": "c"}', "line 1: 'prompt' must be text, got int"),
    ('{"prompt": null, "chosen": "b", "rejected": "c"}', "line 1: 'prompt' must be text, got "
    "NoneType"),
    ('{"prompt": "", "chosen": "b", "rejected": "c"}', "line 1: 'prompt' is empty"),
    ('{"prompt": "a", "chosen": " \\n", "rejected": "c"}', "line 1: 'chosen' is empty"),
    ('{"prompt": "a", "chosen": "b", "rejected": "b"}', "chosen and rejected are the same text"),
    ('{"prompt": "a\\ud800", "chosen": "b", "rejected": "c"}', "'prompt' has a lone surrogate"),
    ('{"prompt": "a\\u0000b", "chosen": "b", "rejected": '
    '"c"}', r"'prompt' has the control character U\+0000"),
    ('{"prompt": "a", "chosen": "b\\u0007", "rejected": '
    '"c"}', r"'chosen' has the control character U\+0007"),
    (f"{TWICE}\n{TWICE}", "line 2: a duplicate of line 1"),
    ("", "has no rows"),
]  # fmt: skip
COLUMNS = ("prompt", "chosen", "rejected")


@pytest.mark.parametrize(("text", "message"), ROWS)
def test_a_bad_row_is_named_with_its_file_and_line(text, message, tmp_path):
    path = tmp_path / "comparisons.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_rows(str(path), COLUMNS, COLUMNS)
    assert "comparisons.jsonl" in str(error.value)


def test_text_with_tabs_newlines_and_any_script_is_taken(tmp_path):
    row = {"prompt": "a\tb\r\nc", "chosen": "漢字 🎉", "rejected": "e\u0301 \u202eright"}
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    assert read_rows(str(tmp_path / "r.jsonl"), COLUMNS, COLUMNS) == [row]


# --- model folders


def folder_without(path, *names, policy=None):
    models.save((policy or make_policy()).unload(), models.word_tokenizer(["a", "b"]), path)
    for name in names:
        (path / name).unlink()
    return path


@pytest.mark.parametrize(("missing", "load"), [
    ("config.json", models.load_policy),
    ("model.safetensors", models.load_policy),
    ("tokenizer.json", models.load_tokenizer),
])  # fmt: skip
def test_a_model_folder_that_lacks_a_file_is_named(missing, load, tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=f"is not a model folder: it lacks .*{missing}.*model.save_pretrained",
    ):
        load(folder_without(tmp_path / "model", missing))


def test_pickled_weights_are_never_loaded(tmp_path):
    folder = folder_without(tmp_path / "model", "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(FileNotFoundError, match=r"it lacks .*model\.safetensors"):
        models.load_policy(folder)


def test_a_checkpoint_without_its_tensors_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = folder_without(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    dropped = next(name for name in tensors if "q_proj" in name)
    save_file(
        {k: v for k, v in tensors.items() if k != dropped},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ValueError, match="q_proj"):
        models.load_policy(folder)


def test_a_reward_model_is_no_policy_and_a_policy_no_reward_model(tmp_path):
    policy = folder_without(tmp_path / "policy")
    with pytest.raises(ValueError, match="is not a reward model"):
        reward_models.load_reward_model(policy)
    from activedpo_lib.streams import stream

    reward = reward_models.new_reward_model(make_policy().unload(), stream=stream(0, "head"))
    models.save(reward, models.word_tokenizer(["a"]), tmp_path / "reward")
    with pytest.raises(ValueError, match="is not a causal language model"):
        models.load_policy(tmp_path / "reward")


def test_code_that_a_model_folder_brings_is_refused(tmp_path):
    folder = folder_without(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ValueError, match="code of its own"):
        models.load_policy(folder)


# --- what only shows once work has begun


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_no_number_stops_before_labels(bad):
    with pytest.raises(
        OracleFailed,
        match="the judge gave 1 of 3 rewards that are NaN or infinite; nothing was labelled",
    ):
        finite(np.array([0.0, bad, 1.0]), "the judge")


def test_an_oracle_that_fails_midway_leaves_whole_rounds_and_the_next_call_goes_on(
    tmp_path, monkeypatch
):
    params = load_params(
        "smoke", strategy="random", overrides={"oracle.kind": "utility", "task.sft_rows": 32}
    )
    real, calls = steps.label, []

    def failing(score, pairs, *rest, **more):
        calls.append(len(pairs))
        if len(calls) == 2:
            raise OracleFailed("the judge hung up")
        return real(score, pairs, *rest, **more)

    monkeypatch.setattr(steps, "label", failing)
    with pytest.raises(OracleFailed, match="hung up"):
        run_rounds(params, 0, tmp_path, log=lambda _: None)
    folder = run_folder(params, 0, tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == ["round0", "round1"]
    assert len(run_rounds(params, 0, tmp_path, log=lambda _: None)) == 3
    assert len(calls) == 3


def test_features_that_overflowed_are_named():
    with pytest.raises(
        ValueError, match="NaN or infinite features: the model's gradients overflowed"
    ):
        select_greedy(np.array([[1.0, np.inf], [0.0, 1.0]]), 1, 1.0)


def test_prompts_longer_than_the_context_are_named():
    from activedpo_lib.records import Prompt

    tokenizer = models.word_tokenizer(["a"])
    policy = make_policy().unload()
    with pytest.raises(
        ValueError,
        match=r"prompt p7 has 2050 tokens; with 8 new tokens that is more than .* context of 2048",
    ):
        models.check_context(policy, tokenizer, [Prompt("p7", "a " * 2050)], 8)


def test_unequal_prompts_and_responses_are_named():
    from activedpo_lib.method.logps import response_logps

    prompts, responses = make_sequences(3)
    with pytest.raises(
        ValueError, match="each response needs its prompt: got 3 prompts, 2 responses"
    ):
        response_logps(make_policy(), prompts, responses[:2])


# --- generated params: success, or a clear error, and nothing else

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(
        ["fold", "none", "new", "all", "pair", "response", "argmax", "utility", "after", "before"]
    ),
)
KEYS = st.sampled_from(
    sorted({key for overrides, _ in PARAMS for key in overrides} | {"sft", "task.name", "strategy"})
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@settings(max_examples=300, deadline=None)
def test_generated_params_succeed_or_say_what_is_wrong(overrides):
    try:
        params = load_params("smoke", overrides=overrides)
    except ParamsError:  # and no other kind of error
        return
    assert (
        params.digest()
        == load_params("smoke", overrides=yaml.safe_load(yaml.safe_dump(overrides))).digest()
    )
