"""Algorithm 1: rounds of generate, measure, select, label, train, evaluate; each saved whole, then
the next.
"""

import contextlib
import time
from dataclasses import asdict

import numpy as np
import pandas as pd

from activedpo_lib.method import models, replay
from activedpo_lib.method.candidates import make_pool, measure, phi_of
from activedpo_lib.method.evaluation import evaluate
from activedpo_lib.method.generation import generate, sampling
from activedpo_lib.method.oracles import label
from activedpo_lib.method.strategies import make_strategy
from activedpo_lib.method.training import dpo
from activedpo_lib.runs import checkpoints
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.launch import launch
from activedpo_lib.runs.run import open_run, policy_after, with_next_adapter
from activedpo_lib.shards import shards
from activedpo_lib.store import locked, provenance, sweep


def run_rounds(params, seed, root="runs", strategies=None, log=print, patience=15.0):
    """All rounds of one run (one task, model, strategy and seed); finished rounds are read, not run
    again.

    params: from `load_params`; seed: draws run, SFT and evaluation sampling; root: the folder of
    all runs; strategies: {name: factory} of your own beside STRATEGIES; log: called with a line of
    progress after each round; patience: seconds to wait for another process that works on the same
    run. Returns the tidy table, one row a round, 0 being pi_SFT. Interrupt it at any moment: the
    next call goes on after the last finished round, to the same table.
    """
    if params.processes > shards().count:
        if strategies:
            raise ValueError(
                "strategies of your own run in one process: set processes to 1, or add yours to "
                "STRATEGIES"
            )
        open_run(
            params, seed, root, log=log
        )  # what is trained once is trained here, before the processes start
        launch(params, seed, root, log)
        return saved_rounds(params, seed, root)
    folder = run_folder(params, seed, root)
    with locked(folder, patience) if shards().rank == 0 else contextlib.nullcontext():
        if shards().rank == 0:
            sweep(folder)
        _remaining_rounds(params, seed, root, strategies, log)
    return saved_rounds(params, seed, root)


def _remaining_rounds(params, seed, root, strategies, log):
    make_strategy(
        params.strategy, params.selection, strategies
    )  # an unknown name is an error of a finished run too
    folder = run_folder(params, seed, root)
    left = [t for t in range(params.rounds + 1) if not checkpoints.is_finished(folder, t)]
    if not left:  # studies read finished runs by the hundred: none of their models is needed
        return
    run, first = open_run(params, seed, root, strategies, log), left[0]
    policy = policy_after(run, first - 1)
    if first == 0:
        log(initial_round(run, policy))
    labelled = checkpoints.load_labelled(run.folder, first - 1, {p.id: p for p in run.task.prompts})
    for t in range(max(1, first), params.rounds + 1):
        policy = with_next_adapter(run, policy, t)
        policy, labelled, line = active_round(run, policy, labelled, t)
        log(line)


def saved_rounds(params, seed, root):
    """The tidy table of a finished run."""
    folder = run_folder(params, seed, root)
    return pd.DataFrame([checkpoints.load_row(folder, t) for t in range(params.rounds + 1)])


def active_round(run, policy, labelled, t):
    """Round t of Algorithm 1. Returns (policy, all labelled pairs, a line of progress)."""
    params, clock = run.params, Clock()
    with clock("generate"):
        prompts = sample_prompts(
            run.task.prompts, params.generation.prompts, run.stream("prompts", t)
        )
        pool = pool_of_round(run, policy, prompts, labelled, t)  # l. 3
    with clock("measure"):
        candidates = measure_pool(run, policy, pool, labelled, t)
    with clock("select"):
        batch = min(params.batch_size, len(pool.pairs))
        picked = run.strategy.select(
            candidates, batch, run.stream("select", t)
        )  # l. 4-9: Eq. 3, Eq. 4
    with clock("label"):
        new = label_pairs(run, [pool.pair(row) for row in picked.indices], t)  # l. 10
    with clock("train"):
        policy, loss = train(run, policy, labelled, new, t)  # l. 11: Eq. 2
    with clock("evaluate"):
        measures, _ = evaluate_policy(run, policy, initial_rewards(run))
    labelled += new
    measures |= {
        "dpo_loss": loss,
        "pool": len(pool.pairs),
        "repeated_prompts": len(new) - len({p.prompt.id for p in new}),
    }
    arrays = {"scores": picked.scores}
    if candidates.phi is not None:
        arrays |= {"ridge": np.array(candidates.ridge), "phi": phi_of(candidates, picked.indices)}
    return policy, labelled, save(run, t, policy, measures, clock, len(labelled), new, arrays)


def label_pairs(run, pairs, t):
    """The LabelledPairs of round t: the oracle's answers, or in a replay what humans had said."""
    if run.params.replay:
        return replay.reveal(pairs, t)
    how = run.params.oracle
    return label(run.score, pairs, run.stream("label", t), how.label, how.flip, t)


def initial_round(run, policy):
    """Round 0: pi_SFT evaluated, before any label."""
    clock = Clock()
    with clock("evaluate"):
        measures, rewards = evaluate_policy(run, policy)
    return save(run, 0, policy, measures, clock, 0, (), rewards)


def initial_rewards(run):
    """Rewards of the initial LLM's responses, by the oracle and the evaluator, as round 0 saved
    them.
    """
    return {
        name: checkpoints.load_array(run.folder, 0, name)
        for name in ("rewards", "evaluator_rewards")
    }


def sample_prompts(prompts, count, stream):
    """The round's prompts, drawn without replacement: the same for every strategy (Sec. 4)."""
    rows = stream.numpy().choice(len(prompts), count, replace=False)
    return [prompts[row] for row in rows]


def pool_of_round(run, policy, prompts, labelled, t):
    """D_t: responses of the current policy; for a strategy that never regenerates, pi_SFT's, a
    prompt's always the same.
    """
    if run.params.replay:
        return replay.comparison_pool(run.tokenizer, prompts, run.stream("replay"), labelled)
    fixed = not run.strategy.regenerates
    noise = run.stream("generate", 1 if fixed else t)
    settings, length = run.params.generation, run.params.task.max_new_tokens
    return make_pool(
        policy, run.tokenizer, prompts, noise, settings, length, labelled, from_reference=fixed
    )


def measure_pool(run, policy, pool, labelled, t):
    """The columns that the strategy needs, with V's past (D3) and ridge (D2) as the earlier rounds
    left them.
    """
    params = run.params
    keeps = "phi" in run.strategy.needs and params.selection.past == "keep"
    kept = (
        [checkpoints.load_array(run.folder, past, "phi") for past in range(1, t)] if keeps else []
    )
    ridge = (
        checkpoints.load_array(run.folder, 1, "ridge")
        if t > 1 and "phi" in run.strategy.needs
        else None
    )
    extra = {
        "stream": run.stream("entropy", t),
        "max_new_tokens": params.task.max_new_tokens,
        "batch_sequences": params.generation.batch_sequences,
    }
    return measure(
        policy,
        run.tokenizer,
        pool,
        run.strategy.needs,
        labelled,
        params.selection,
        run.stream("projection"),
        beta=params.dpo.beta,
        kept_phi=np.concatenate(kept) if kept else None,
        ridge=None if ridge is None else float(ridge),
        entropy=extra,
        folder=checkpoints.scratch_folder(run.folder, t),
        log=run.log,
    )


def train(run, policy, labelled, new, t):
    """DPO on the new batch from theta_{t-1}, or what D5 says instead. Returns (policy, mean loss in
    nats).
    """
    settings = asdict(run.params.dpo)
    train_on = settings.pop("train_on")  # D5
    if train_on == "all_from_sft":
        policy = models.with_adapter(
            models.unmerge(policy.unload()), run.lora, run.stream("adapter")
        )
    data = new if train_on == "new" else (*labelled, *new)
    return dpo(policy, run.tokenizer, data, run.lora, run.stream("train", t), **settings)


def evaluate_policy(run, policy, initial=None):
    """Measures on the held-out prompts; prompts and sampling numbers are the same in every round
    and strategy (D14).

    initial: from `initial_rewards`; None: this is the initial LLM. Returns (measures, rewards by
    scorer). In a replay the measure is the agreement with held-out human labels, of as many
    comparisons as there are responses otherwise.
    """
    params, count, initial = run.params, run.params.evaluation.responses, initial or {}
    if params.replay:
        held_out = run.task.held_out[: params.evaluation.prompts * count]
        return replay.agreement(
            policy, run.tokenizer, held_out, params.dpo.beta, params.selection.token_budget
        ), {}
    pool = evaluation_responses(run, policy)
    measures, rewards = evaluate(pool, count, run.score, initial.get("rewards"), run.task.utility)
    if run.evaluator is None:
        return measures, {"rewards": rewards}
    second, others = evaluate(pool, count, run.evaluator, initial.get("evaluator_rewards"))
    measures |= {f"evaluator_{name}": second[name] for name in ("reward", "win_rate")}
    return measures, {"rewards": rewards, "evaluator_rewards": others}


def evaluation_responses(run, policy):
    """The Pool of the policy's responses to the evaluation prompts (D14)."""
    settings = run.params.generation
    return generate(
        policy,
        run.tokenizer,
        run.task.evaluation,
        run.stream("evaluate"),
        run.params.evaluation.responses,
        run.params.task.max_new_tokens,
        **sampling(settings),
    )


def save(run, t, policy, measures, clock, labels, new, arrays):
    """Save round t whole; returns its line of progress."""
    params = run.params
    cell = {
        "task": run.task.name,
        "model": params.model.name,
        "strategy": params.strategy,
        "seed": run.seed,
    }
    row = cell | {"round": t, "labels": labels} | measures | clock.row()
    state = models.adapter_state(policy)
    if shards().rank == 0:
        checkpoints.save_round(
            run.folder, t, row, provenance(params.digest(), run.seed), state, new, arrays
        )
    shards().collect([])  # nobody goes on before the round is saved
    found = (
        f"agreement {row['agreement']:.1%}"
        if params.replay
        else f"reward {row['reward']:+.3f}, win-rate {row['win_rate']:.1%}"
    )
    where = f"[{' '.join(map(str, cell.values()))}] round {t}/{params.rounds}"
    return f"{where}: {labels} labels, {found}, {row['seconds']:.1f} s"


class Clock:
    """Wall seconds by part of a round, and the process's CPU seconds over all of it."""

    def __init__(self):
        self._parts, self._cpu = {}, time.process_time()

    def __call__(self, part):
        self._part = part
        return self

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._parts[f"seconds_{self._part}"] = time.perf_counter() - self._start

    def row(self):
        """Columns: `seconds` (the parts' sum), `cpu_seconds`, and each part's seconds."""
        return {
            "seconds": sum(self._parts.values()),
            "cpu_seconds": time.process_time() - self._cpu,
            **self._parts,
        }
