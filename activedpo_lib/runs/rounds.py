"""Algorithm 1: rounds of generate, measure, select, label, train, evaluate; each saved whole, then
the next. `launch.run_rounds` is the door to it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from peft import PeftModel

from activedpo_lib.method import adapters
from activedpo_lib.method.candidates import measure
from activedpo_lib.records import Log, Past
from activedpo_lib.runs import checkpoints, steps
from activedpo_lib.runs.meetings import (
    check_pairs,
    joined_candidates,
    next_past,
    pairs_of,
    share_of,
)
from activedpo_lib.runs.run import Run, Strategies, open_run
from activedpo_lib.runs.saved import policy_after, unfinished, with_next_adapter
from activedpo_lib.schema import Params
from activedpo_lib.store import provenance
from activedpo_lib.tasks.pools import scarcity_warning


def all_rounds(
    params: Params, seed: int, root: Path | str, strategies: Strategies | None, log: Log
) -> None:
    """Every round that is not saved yet, in this process or as one of those that share the run."""
    left = unfinished(params, seed, root)
    if not left:  # studies read finished runs by the hundred: none of their models is needed
        return
    run, first = open_run(params, seed, root, strategies, log), left[0]
    policy = policy_after(run, first - 1)
    if first == 0:
        if warning := scarcity_warning(params):
            log(f"[{params.task.name}] {warning}")
        log(initial_round(run, policy))
    past = steps.past_of(run, first - 1)
    for t in range(max(1, first), params.rounds + 1):
        policy = with_next_adapter(run, policy, t)
        policy, past, line = active_round(run, policy, past, t)
        log(line)


def initial_round(run: Run, policy: PeftModel) -> str:
    """Round 0: pi_SFT evaluated, before any label. Returns a line of progress."""
    clock = Clock()
    with clock("evaluate"):
        measures, rewards = steps.evaluate_policy(run, policy)
    return save(run, 0, policy, Past(), measures | clock.row(), rewards)


def active_round(run: Run, policy: PeftModel, past: Past, t: int) -> tuple[PeftModel, Past, str]:
    """Round t of Algorithm 1. Returns (policy, what V remembers, a line of progress)."""
    clock = Clock()
    with clock("generate"):
        prompts = steps.sample_prompts(run, t)
        own = prompts[run.processes.share(len(prompts))]
        pool = steps.pool_of_round(run, policy, own, past.labelled, t)  # l. 3
        check_pairs(pool, prompts, run.processes)
    with clock("measure"):
        reader = steps.reader_of(run, policy, t)
        measured = measure(pool, steps.needs(run), share_of(past, run.processes), reader)
        candidates = joined_candidates(measured, run.processes)
    with clock("select"):  # l. 4-9: Eq. 3, Eq. 4
        batch = min(run.params.batch_size, len(candidates.ids))
        picked = steps.select(run, pool, candidates, batch, t)
    with clock("label"):
        pairs = pairs_of(pool, candidates, picked.indices, prompts)
        new = steps.label_picked(run, pairs, candidates, picked.indices, t)  # l. 10
    with clock("train"):
        policy, loss = steps.train(run, policy, past.labelled, new, t)  # l. 11: Eq. 2
    with clock("evaluate"):
        measures, _ = steps.evaluate_policy(run, policy, steps.initial_rewards(run))
    keep = pairs if run.params.selection.past == "keep" else ()  # D3
    past = next_past(past, new, candidates, picked.indices, keep)
    row = measures | {
        "dpo_loss": loss,
        "pool": len(candidates.ids),
        "repeated_prompts": len(new) - len({pair.prompt.id for pair in new}),
    }
    line = save(run, t, policy, past, row | clock.row(), {"scores": picked.scores})
    return policy, past, line


def save(
    run: Run,
    t: int,
    policy: PeftModel,
    past: Past,
    row: dict[str, Any],
    arrays: dict[str, np.ndarray],
) -> str:
    """Save round t whole; returns its line of progress."""
    params = run.params
    cell = {
        "task": run.task.name,
        "model": params.model.name,
        "strategy": params.chooser,
        "seed": run.seed,
    }
    row = cell | {"round": t, "labels": len(past.labelled)} | row
    state, made_by = adapters.adapter_state(policy), provenance(params.digest(), run.seed)
    if run.processes.rank == 0:
        saved = checkpoints.Saved(row, made_by, state, past, arrays)
        checkpoints.save_round(run.folder, t, saved)
        if params.adapters == "last" and not params.lora.fresh:
            checkpoints.drop_adapter(run.folder, t - 1)
    run.processes.wait()  # nobody goes on before the round is saved
    return _line(run, t, row)


def _line(run: Run, t: int, row: dict[str, Any]) -> str:
    if run.params.replay:
        found = f"agreement {row['agreement']:.1%}"
    else:
        found = f"reward {row['reward']:+.3f}, win-rate {row['win_rate']:.1%}"
    where = f"[{row['task']} {row['model']} {row['strategy']} {row['seed']}]"
    progress = f"round {t}/{run.params.rounds}: {row['labels']} labels"
    return f"{where} {progress}, {found}, {row['seconds']:.1f} s"


class Clock:
    """Wall seconds by part of a round, and the process's CPU seconds over all of it."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}
        self._cpu = time.process_time()

    def __call__(self, part: str) -> Clock:
        """The clock, to be entered for this part."""
        self._part = part
        return self

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._parts[f"seconds_{self._part}"] = time.perf_counter() - self._start

    def row(self) -> dict[str, float]:
        """Columns: `seconds` (the parts' sum), `cpu_seconds`, and each part's seconds."""
        return {
            "seconds": sum(self._parts.values()),
            "cpu_seconds": time.process_time() - self._cpu,
            **self._parts,
        }
