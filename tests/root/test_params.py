import dataclasses
from pathlib import Path

import pytest

from activedpo_lib.params import PROFILES, ParamsError, load_grid, load_params

NAMES = sorted(path.stem for path in PROFILES.glob("*.yaml"))


@pytest.mark.parametrize("profile", NAMES)
def test_every_cell_of_every_profile_is_valid(profile):
    grid = load_grid(profile)
    for task in grid.tasks:
        for model in grid.models:
            for strategy in grid.strategies:
                params = load_params(profile, task, model, strategy)
                assert (params.task.name, params.model.name, params.strategy) == (
                    task,
                    model,
                    strategy,
                )


def test_the_tiny_grid_is_the_papers():
    grid = load_grid("tiny")
    assert grid.tasks == ("tldr", "webgpt")
    assert grid.models == ("llama", "gemma")
    assert set(grid.strategies) == {"random", "apo", "aplp", "activedpo"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"dpo.learning_rat": 1.0},
            "unknown parameter dpo.learning_rat; did you mean dpo.learning_rate?",
        ),
        ({"xyz": 1}, r"unknown parameter xyz; known keys are \["),
        (
            {"dpo.learning_rate": "1e-5"},
            r"dpo.learning_rate must be float, got str '1e-5' \(YAML reads 1e-5 as text: write "
            r"1.0e-5\)",
        ),
        ({"rounds": 2.5}, "rounds must be int, got float 2.5"),
        ({"rounds": True}, "rounds must be int, got bool True"),
        ({"rounds": 0}, "rounds must be at least 1 rounds, got 0"),
        ({"oracle.flip": 0.7}, "oracle.flip must be at most 0.5 probability, got 0.7"),
        ({"dpo.beta": float("nan")}, r"dpo.beta is not a number \(NaN\)"),
        (
            {"selection.normalise": "both"},
            r"selection.normalise must be one of \['response', 'pair', 'token', 'none'\], got "
            r"'both'",
        ),
        ({"lora.targets": "q_proj"}, "lora.targets must be a list of names, got 'q_proj'"),
        ({"lora.targets": []}, "lora.targets must be a list of names"),
        ({"lora": 3}, "lora.: expected a mapping, got 3"),
        ({"rounds.more": 3}, "rounds.more: rounds is a value, not a section"),
        (
            {"batch_size": 400},
            "batch_size 400 is more than a round's pool: 120 prompts with 3 responses each make "
            "360 pairs",
        ),
        (
            {"generation.prompts": 5000},
            "generation.prompts 5000 is more than task.prompt_rows 2000",
        ),
        (
            {"selection.normalise": "pair", "selection.normalise_when": "before"},
            "impossible: the pair's exact norm",
        ),
        ({"model.heads": 5}, "model.hidden_size 96 must be a multiple of heads 5"),
    ],
)
def test_a_bad_value_is_named(overrides, message):
    with pytest.raises(ParamsError, match=message):
        load_params("tiny", overrides=overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected a mapping of parameters, got list"),
        ("a: [", "not valid YAML"),
        ("tasks: {t: {}}\nmodels: {m: {}}\nstrategies: [random]", "seeds must be a int, got None"),
        ("tasks: [t]\nmodels: {m: {}}\nstrategies: [random]\nseeds: 1", "tasks must be a dict"),
    ],
)
def test_a_bad_profile_is_named(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=message):
        load_params(str(path))


def test_an_unknown_profile_task_or_model_lists_the_known_ones():
    with pytest.raises(ParamsError, match=r"no profile 'tinny': .* profiles are \["):
        load_params("tinny")
    with pytest.raises(
        ParamsError, match=r"no task 'tdlr' in the profile; it has \['tldr', 'webgpt'\]"
    ):
        load_params("tiny", task="tdlr")


def test_parameters_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_params("tiny").rounds = 3


def test_the_hash_knows_every_value_and_not_the_profiles_name():
    params = load_params("tiny")
    assert params.digest() == load_params("tiny").digest()
    assert params.digest() != load_params("tiny", overrides={"dpo.beta": 0.2}).digest()
    assert params.digest("task") == load_params("tiny", overrides={"dpo.beta": 0.2}).digest("task")
    assert params.digest() == dataclasses.replace(params, profile="copy").digest()


def test_defaults_of_decisions_are_the_tables():
    params = load_params("tiny")
    assert params.selection.ridge_is == "relative"  # D2
    assert params.selection.past == "reembed"  # D3
    assert params.selection.normalise == "response"  # D4
    assert params.dpo.train_on == "new"  # D5
    assert params.selection.projection == "fold"  # D7
    assert params.selection.normalise_when == "after"  # D8
    assert load_params("paper").generation.temperature == 1.0  # D9; the laptop's is tuned
    assert params.oracle.label == "argmax"  # D10
    assert params.dpo.beta == 0.1  # D11
    assert params.selection.repeat_prompts  # D13


def test_an_integer_will_do_for_a_float():
    assert load_params("tiny", overrides={"selection.ridge": 2}).selection.ridge == 2.0


def test_profiles_name_no_machine():
    for path in PROFILES.glob("*.yaml"):
        assert "/home" not in path.read_text()
        assert Path(path).read_text().startswith("#")
