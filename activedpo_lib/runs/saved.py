"""What a run's saved rounds give back: its table, and its policies from round to round."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from peft import PeftModel

from activedpo_lib.method import adapters
from activedpo_lib.runs import checkpoints, steps
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.run import Run
from activedpo_lib.schema import Params


def unfinished(params: Params, seed: int, root: Path | str) -> list[int]:
    """The rounds of a run that are not saved yet, 0 being pi_SFT's."""
    folder = run_folder(params, seed, root)
    return [t for t in range(params.rounds + 1) if not checkpoints.is_finished(folder, t)]


def saved_rounds(params: Params, seed: int, root: Path | str) -> pd.DataFrame:
    """The tidy table of a finished run, one row a round."""
    folder = run_folder(params, seed, root)
    return pd.DataFrame([checkpoints.load_row(folder, t) for t in range(params.rounds + 1)])


def initial_policy(run: Run) -> PeftModel:
    """pi_SFT under the run's first adapter, which changes nothing yet (D12).

    Policies made from the same Run before are of no use afterwards: they share its base.
    """
    base = adapters.bare(run.base)
    return adapters.with_adapter(base, run.lora, stream=run.stream("adapter"))


def saved_policies(run: Run, last: int) -> Iterator[tuple[int, PeftModel]]:
    """Yield (t, pi_theta_t) for t = 0..last from a run's saved rounds: one policy, moved on from
    round to round. An adapter that was dropped (`adapters: last`) is trained again from its
    round's labels.
    """
    policy = initial_policy(run)
    for t in range(last + 1):
        policy = with_next_adapter(run, policy, t)
        if checkpoints.has_adapter(run.folder, t):
            adapters.set_adapter_state(policy, checkpoints.load_adapter(run.folder, t))
        elif t > 0:
            labelled = steps.past_of(run, t).labelled
            before = tuple(pair for pair in labelled if pair.round < t)
            policy, _ = steps.train(run, policy, before, labelled[len(before) :], t)
        yield t, policy


def policy_after(run: Run, t: int) -> PeftModel:
    """pi_theta_t from a run's saved rounds; pi_SFT under a fresh adapter for t < 0."""
    policy = initial_policy(run)
    if t < 0:
        return policy
    if not run.params.lora.fresh and checkpoints.has_adapter(run.folder, t):
        return adapters.set_adapter_state(policy, checkpoints.load_adapter(run.folder, t))
    *_, (_, policy) = saved_policies(run, t)
    return policy


def with_next_adapter(run: Run, policy: PeftModel, t: int) -> PeftModel:
    """The policy as round t trains it: the same adapter throughout or, D12, the last one folded in
    and a fresh one on top.
    """
    if not run.params.lora.fresh or t <= 1:
        return policy
    merged = adapters.merge_adapter(policy)
    return adapters.with_adapter(merged, run.lora, stream=run.stream("adapter", t))
