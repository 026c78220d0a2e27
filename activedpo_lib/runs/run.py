"""One run: what all its rounds share, opened from its params; its saved policies and labels."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from activedpo_lib.method import models, replay
from activedpo_lib.method.strategies import make_strategy
from activedpo_lib.records import Strategy, Task
from activedpo_lib.runs import artifacts, checkpoints
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.schema import Params
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task


@dataclass(frozen=True)
class Run:
    """What all rounds of one run share; what changes from round to round is returned and saved,
    never kept here.
    """

    params: Params
    seed: int
    folder: Path
    strategy: Strategy
    task: Task
    tokenizer: object
    base: object  # pi_SFT without adapter
    lora: object
    score: object  # the oracle; None in a replay, where humans have answered
    evaluator: object  # a second reward model, or None
    log: Callable  # takes a line of progress

    def stream(self, *names):
        """The run's stream `names`; it does not know the strategy, so all strategies share it."""
        return stream(self.seed, *names)


def open_run(params, seed, root="runs", strategies=None, log=print):
    """The run's folder, task, pi_SFT and oracle, trained first where they are missing."""
    strategy = make_strategy(params.strategy, params.selection, strategies)
    if params.processes > 1 and "phi" in strategy.needs and not strategy.shares:
        raise ValueError(
            f"the strategy {params.strategy} needs the whole pool's gradients in one process: set "
            "processes to 1"
        )
    task = task_of(params)
    if len(task.prompts) < (wanted := params.generation.prompts):
        raise ValueError(
            f"{task.name} has {len(task.prompts)} pool prompts, generation.prompts asks for "
            f"{wanted}"
        )
    score = None if params.replay else artifacts.load_oracle(params, task, root, log)
    evaluator = artifacts.load_evaluator(params, root, log)
    sft = artifacts.sft_folder(params, seed, root, log)
    folder = run_folder(params, seed, root)
    lora = models.lora_config(params.lora.rank, params.lora.alpha, params.lora.targets)
    base, tokenizer = models.load_policy(sft, params.model.dtype), models.load_tokenizer(sft)
    models.check_context(
        base, tokenizer, (*task.prompts, *task.evaluation), params.task.max_new_tokens
    )
    # The trainers collect garbage once a round: what is loaded by now is none, and scanning it
    # costs a tenth.
    gc.freeze()
    return Run(params, seed, folder, strategy, task, tokenizer, base, lora, score, evaluator, log)


def task_of(params):
    """The run's Task; in a replay, one pool prompt a comparison."""
    task = load_task(params.task, params.evaluation.prompts, comparisons=params.replay)
    return replay.replay_task(task) if params.replay else task


def labelled_pairs(params, seed, root):
    """The LabelledPairs of a finished run, in the order picked."""
    task = task_of(params)
    return checkpoints.load_labelled(
        run_folder(params, seed, root), params.rounds, {p.id: p for p in task.prompts}
    )


def saved_policies(run, last):
    """Yield (t, pi_theta_t) for t = 0..last from a run's saved rounds: one policy, moved on from
    round to round.

    Policies made from the same Run before are of no use afterwards: they share its base.
    """
    policy = models.with_adapter(models.bare(run.base), run.lora, run.stream("adapter"))
    for t in range(last + 1):
        policy = with_next_adapter(run, policy, t)
        models.set_adapter_state(policy, checkpoints.load_adapter(run.folder, t))
        yield t, policy


def policy_after(run, t):
    """pi_theta_t from a run's saved rounds; pi_SFT under a fresh adapter for t < 0."""
    policy = models.with_adapter(run.base, run.lora, run.stream("adapter")) if t < 0 else None
    for _, policy in saved_policies(run, t):  # noqa: B007 - the last one is wanted
        pass
    return policy


def with_next_adapter(run, policy, t):
    """The policy as round t trains it: the same adapter throughout or, D12, the last one folded in
    and a fresh one on top.
    """
    if not run.params.lora.fresh or t <= 1:
        return policy
    return models.with_adapter(models.merge_adapter(policy), run.lora, run.stream("adapter", t))
