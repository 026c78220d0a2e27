"""One run: what all its rounds share, opened from its params."""

from __future__ import annotations

import functools
import gc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peft import LoraConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from activedpo_lib.method import adapters, models, replay
from activedpo_lib.method.strategies import Factory, make_strategy
from activedpo_lib.records import LabelledPair, Log, Prompt, Score, Strategy, Task
from activedpo_lib.runs import artifacts, checkpoints
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.pretrained import check_base
from activedpo_lib.schema import Params
from activedpo_lib.shards import SingleProcess, processes
from activedpo_lib.streams import Stream, stream
from activedpo_lib.tasks import load_task
from activedpo_lib.tasks.pools import copies_of

Strategies = Mapping[str, Factory]


@dataclass(frozen=True)
class Run:
    """What all rounds of one run share; what changes from round to round is returned and saved,
    never kept here. base: pi_SFT without adapter; score: the oracle (None in a replay, where humans
    have answered); evaluator: a second reward model, or None; log: takes a line of progress.
    """

    params: Params
    seed: int
    folder: Path
    strategy: Strategy
    task: Task
    tokenizer: PreTrainedTokenizerBase
    base: PreTrainedModel
    lora: LoraConfig
    score: Score | None
    evaluator: Score | None
    processes: SingleProcess
    log: Log

    def stream(self, *names: str | int) -> Stream:
        """The run's stream `names`; it does not know the strategy, so all strategies share it."""
        return stream(self.seed, *names)

    @property
    def prompts(self) -> dict[str, Prompt]:
        """The pool's prompts by id."""
        return prompts_by_id(self.task, self.params)


def strategy_of(params: Params, strategies: Strategies | None = None) -> Strategy:
    """The run's Strategy, its numbers bound from the params' `selection`. Raises ValueError for an
    unknown name, or one that several processes cannot share.
    """
    strategy = make_strategy(params.strategy, vars(params.selection), strategies)
    if params.processes > 1 and params.strategy in (strategies or {}):
        raise ValueError(
            "strategies of your own run in one process: set processes to 1, or add yours to "
            "STRATEGIES"
        )
    if params.processes > 1 and "phi" in strategy.needs and not strategy.shares:
        raise ValueError(
            f"the strategy {params.strategy} needs the whole pool's gradients in one process: set "
            "processes to 1"
        )
    return strategy


def open_run(
    params: Params,
    seed: int,
    root: Path | str = "runs",
    strategies: Strategies | None = None,
    log: Log = print,
) -> Run:
    """The run's folder, task, pi_SFT and oracle, trained first where they are missing.

    Raises ValueError for what `strategy_of` refuses, a pool larger than the task's prompts, a base
    that cannot be a policy, or a prompt that does not fit the model's context.
    """
    _freeze_what_is_imported()
    strategy, task = strategy_of(params, strategies), task_of(params)
    check_pool(task, params)
    check_base(params)
    score = None if params.replay else artifacts.load_oracle(params, task, root, log)
    evaluator = artifacts.load_evaluator(params, root, log)
    sft = artifacts.sft_folder(params, seed, root, log)
    base, tokenizer = models.load_policy(sft, params.model.dtype), models.load_tokenizer(sft)
    asked = (*task.prompts, *task.evaluation)
    models.check_context(base, tokenizer, asked, params.task.max_new_tokens)
    lora = adapters.lora_config(params.lora.rank, params.lora.alpha, params.lora.targets)
    folder = run_folder(params, seed, root)
    return Run(
        params, seed, folder, strategy, task, tokenizer, base, lora, score, evaluator,
        processes(), log,
    )  # fmt: skip


def check_pool(task: Task, params: Params) -> None:
    """Raise ValueError where the task has fewer pool prompts than a round wants."""
    if len(task.prompts) < (wanted := params.generation.prompts):
        raise ValueError(
            f"{task.name} has {len(task.prompts)} pool prompts, generation.prompts asks for "
            f"{wanted}"
        )


@functools.cache
def _freeze_what_is_imported() -> None:
    """Once a process: the trainers collect garbage each round, and scanning all that the libraries
    brought takes half of a small run's time. What a run loads later stays collectable.
    """
    gc.collect()
    gc.freeze()


def task_of(params: Params) -> Task:
    """The run's Task; in a replay, one pool prompt a comparison."""
    task = load_task(params.task, params.evaluation.prompts, comparisons=params.replay)
    return replay.replay_task(task) if params.replay else task


def prompts_by_id(task: Task, params: Params) -> dict[str, Prompt]:
    """The pool's prompts and their copies by id."""
    copies = params.task.copies
    return {copy.id: copy for prompt in task.prompts for copy in copies_of(prompt, copies)}


def labelled_pairs(params: Params, seed: int, root: Path | str) -> tuple[LabelledPair, ...]:
    """The LabelledPairs of a finished run, in the order picked."""
    prompts = prompts_by_id(task_of(params), params)
    return checkpoints.load_labelled(run_folder(params, seed, root), params.rounds, prompts)
