"""What is trained once and shared by many runs: base models, pi_SFT, the oracle's reward model.

Each is a folder named by the hash of all that it depends on; whoever needs it first makes it, whole
or not at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from activedpo_lib.method import models, reward_models, training
from activedpo_lib.method.formulas import share_above
from activedpo_lib.method.oracles import classifier_score, reward_model_score, utility_score
from activedpo_lib.records import Comparison, Fit, Log, Prompt, Score, Task
from activedpo_lib.runs.model_hub import model_folder
from activedpo_lib.runs.pretrained import base_folder, check_base, usual_shape
from activedpo_lib.schema import OracleParams, Params
from activedpo_lib.store import (
    content_key,
    provenance,
    read_json,
    write_folder,
    write_json,
)
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task
from activedpo_lib.tasks.pools import NEUTRAL

REWARD = ("llama", 1)  # the reward model starts from another base than the policies' seed 0
EVALUATOR = ("gemma", 0)  # the second one, which nobody optimises, from yet another


def sft_folder(params: Params, seed: int, root: Path | str, log: Log = print) -> Path:
    """The folder of pi_SFT, the policy and reference that a seed's runs start from; trained if it
    is not there.
    """
    neutral = _neutral(params)
    if params.task.source == "world":  # there, demonstrations do not depend on comparisons
        neutral = dataclasses.replace(
            neutral,
            task=dataclasses.replace(
                neutral.task, comparison_rows=2, held_out_rows=1000, damaged=0.0
            ),
        )
    name = f"seed{seed}-{content_key(neutral, 'task', 'model', 'sft')}"
    folder = Path(root) / "sft" / params.task.name / params.model.name / name
    if not (folder / "made.json").is_file():
        base = base_folder(params, root, log=log)
        task = load_task(params.task, params.evaluation.prompts, comparisons=False)
        tokenizer, model = models.load_tokenizer(base), models.load_policy(base, params.model.dtype)
        if params.model.chat:
            tokenizer = models.as_turns(tokenizer)
        randomness = stream(seed, "sft", params.task.name, params.model.name)
        how = params.sft
        fit = Fit(
            how.epochs, how.learning_rate, how.batch_size,
            gradient_checkpointing=how.gradient_checkpointing,
        )  # fmt: skip
        model, loss = training.sft(model, tokenizer, task.sft, fit, stream=randomness)
        with write_folder(folder) as aside:
            models.save(model, tokenizer, aside)
            write_json(
                aside / "made.json",
                {"loss": loss, **provenance(params.digest("task", "model", "sft"), seed)},
            )
        log(
            f"[{params.task.name} {params.model.name} seed {seed}] SFT on {len(task.sft)} "
            f"demonstrations: loss {loss:.3f} nats"
        )
    return folder


# Of OracleParams: who labels and how, which no reward model knows.
WHO_LABELS = ("kind", "label", "flip", "after_first", "labeller", "answers", "ties")


def _neutral(params: Params) -> Params:
    """`params` without what only the pool and the labels see: runs that differ in those share
    pi_SFT and reward models.
    """
    default = OracleParams()
    return dataclasses.replace(
        params,
        task=dataclasses.replace(params.task, **NEUTRAL),
        oracle=dataclasses.replace(
            params.oracle,
            **{name: getattr(default, name) for name in WHO_LABELS},
        ),
    )


def oracle_folder(
    params: Params, root: Path | str, log: Log = print, start: tuple[str, int] = REWARD
) -> Path:
    """The folder of the task's reward model, with its accuracy on held-out human comparisons in
    made.json.

    start: family and seed of the base that it starts from, and of its randomness.
    """
    family, seed = start
    reward, labeller = _neutral(params), params.model
    if labeller.base == "world":  # policies of every size are judged by one and the same
        labeller = usual_shape(labeller)
    reward = dataclasses.replace(
        reward,
        task=dataclasses.replace(reward.task, sft_subset=""),
        model=dataclasses.replace(labeller, name="reward", family=family),
    )
    folder = (
        Path(root)
        / "oracle"
        / f"{params.task.name}-{family}-{seed}-{content_key(reward, 'task', 'model', 'oracle')}"
    )
    if not (folder / "made.json").is_file():
        base = base_folder(reward, root, seed, log)
        made = _train_reward_model(params, seed, base, folder)
        log(
            f"[{params.task.name}] reward model: right on {made['accuracy']:.1%} of "
            f"{made['held_out']} held-out human labels"
        )
    return folder


def _train_reward_model(params: Params, seed: int, base: Path, folder: Path) -> dict[str, Any]:
    """Train it from the base model, save it whole; returns what made.json says of it."""
    task, how = load_task(params.task, params.evaluation.prompts), params.oracle
    tokenizer, randomness = models.load_tokenizer(base), stream(seed, "oracle", params.task.name)
    head = randomness.child("head")
    model = reward_models.new_reward_model(models.load_policy(base), stream=head)
    fit = Fit(how.epochs, how.learning_rate, how.batch_size)
    model, loss = training.reward_model(model, tokenizer, task.comparisons, fit, stream=randomness)
    made = {
        "loss": loss,
        "accuracy": accuracy_on(reward_model_score(model, tokenizer), task.held_out),
        "comparisons": len(task.comparisons),
        "held_out": len(task.held_out),
    }
    with write_folder(folder) as aside:
        models.save(model, tokenizer, aside)
        made_by = provenance(params.digest("task", "oracle"), seed)
        write_json(aside / "made.json", made | made_by)
    return made


def accuracy_on(score: Score, comparisons: Sequence[Comparison]) -> float:
    """Share of human comparisons on which `score` agrees with the human; ties count half."""
    prompts = [Prompt("", c.prompt) for c in comparisons]
    return share_above(
        score(prompts, [c.chosen for c in comparisons]),
        score(prompts, [c.rejected for c in comparisons]),
    )


def load_oracle(params: Params, task: Task, root: Path | str, log: Log = print) -> Score:
    """The oracle's `score(prompts, texts) -> (n,)`; where a person labels, the reward model's: it
    evaluates, and answers nothing. Raises ValueError where the true utility is asked of real text.
    """
    if params.oracle.kind == "utility":
        if task.utility is None:
            raise ValueError(
                f"oracle.kind utility needs a known truth, and {task.name} is real text; use "
                "reward_model"
            )
        return utility_score(task.utility)
    named = params.task.reward_model
    return scorer(model_folder(named) if named else oracle_folder(params, root, log))


def load_evaluator(params: Params, root: Path | str, log: Log = print) -> Score | None:
    """The `score` of the second reward model that the params name, which nobody optimises; None
    without one.
    """
    name = params.evaluation.evaluator
    if not name or params.replay:
        return None
    return scorer(
        oracle_folder(params, root, log, EVALUATOR) if name == "trained" else model_folder(name)
    )


def train_missing(params: Params, seed: int, root: Path | str, log: Log = print) -> None:
    """Train pi_SFT and the reward models of a run where they are missing; open none of the rest.
    What cannot be a policy is refused first.
    """
    check_base(params)
    sft_folder(params, seed, root, log)
    if params.replay:
        return
    if params.oracle.kind != "utility" and not params.task.reward_model:
        oracle_folder(params, root, log)
    if params.evaluation.evaluator == "trained":
        oracle_folder(params, root, log, EVALUATOR)


def scorer(folder: Path | str) -> Score:
    """The `score(prompts, texts)` of a folder's reward model: one of this project, or a sequence
    classifier.
    """
    tokenizer = models.load_tokenizer(folder)
    if reward_models.is_own(folder):
        return reward_model_score(reward_models.load_reward_model(folder), tokenizer)
    return classifier_score(reward_models.load_classifier(folder), tokenizer)


def made(folder: Path | str) -> dict[str, Any]:
    """What made.json says of an artifact."""
    return read_json(Path(folder) / "made.json")
