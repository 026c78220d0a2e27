"""Algorithm 1 (floor 5): rounds of generate, measure, select, label, train, evaluate; each saved whole, then the next."""

import contextlib
import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib import artifacts, checkpoints, models
from activedpo_lib.candidates import make_pool, measure, phi_of
from activedpo_lib.checkpoints import run_folder
from activedpo_lib.evaluation import evaluate
from activedpo_lib.generation import generate
from activedpo_lib.launch import launch
from activedpo_lib.oracles import label
from activedpo_lib.records import Strategy, Task
from activedpo_lib.schema import Params
from activedpo_lib.shards import shards
from activedpo_lib.store import alone, provenance, sweep
from activedpo_lib.strategies import make_strategy
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task
from activedpo_lib.training import dpo


@dataclass(frozen=True)
class Run:
    """What all rounds of one run share; what changes from round to round is returned and saved, never kept here."""

    params: Params
    seed: int
    folder: Path
    strategy: Strategy
    task: Task
    tokenizer: object
    base: object  # pi_SFT without adapter
    lora: object
    score: object  # the oracle
    say: Callable  # takes a line of progress

    def stream(self, *names):
        """The run's stream `names`; it does not know the strategy, so all strategies share it."""
        return stream(self.seed, *names)


def open_run(params, seed, root="runs", strategies=None, say=print):
    """The run's folder, task, pi_SFT and oracle, trained first where they are missing."""
    strategy = make_strategy(params.strategy, params.selection, strategies)
    task = load_task(params.task, params.evaluation.prompts, comparisons=False)
    if len(task.prompts) < (wanted := params.generation.prompts):
        raise ValueError(f"{task.name} has {len(task.prompts)} pool prompts, generation.prompts asks for {wanted}")
    score = artifacts.load_oracle(params, task, root, say)
    sft = artifacts.sft_folder(params, seed, root, say)
    folder = run_folder(params, seed, root)
    lora = models.lora_config(**asdict(params.lora))
    base, tokenizer = models.load_policy(sft, params.model.dtype), models.load_tokenizer(sft)
    models.check_context(base, tokenizer, (*task.prompts, *task.evaluation), params.task.max_new_tokens)
    gc.freeze()  # the trainers collect garbage once a round: what is loaded by now is none, and scanning it costs a tenth
    return Run(params, seed, folder, strategy, task, tokenizer, base, lora, score, say)


def labelled_pairs(params, seed, root):
    """The LabelledPairs of a finished run, in the order picked."""
    task = load_task(params.task, params.evaluation.prompts, comparisons=False)
    return checkpoints.load_labelled(run_folder(params, seed, root), params.rounds, {p.id: p for p in task.prompts})


def run_rounds(params, seed, root="runs", strategies=None, say=print):
    """All rounds of one run (one task, model, strategy and seed); finished rounds are read, not run again.

    params: from `load_params`; seed: draws run, SFT and evaluation sampling; root: the folder of all runs;
    strategies: {name: factory} of your own beside STRATEGIES; say: called with a line of progress after each round.
    Returns the tidy table, one row a round, 0 being pi_SFT. Interrupt it at any moment: the next call goes on
    after the last finished round, to the same table.
    """
    if params.processes > shards().count:
        if strategies:
            raise ValueError(
                "strategies of your own run in one process: set processes to 1, or add yours to STRATEGIES"
            )
        open_run(params, seed, root, say=say)  # what is trained once is trained here, before the processes start
        launch(params, seed, root, say)
        return saved_rounds(params, seed, root)
    folder = run_folder(params, seed, root)
    with alone(folder) if shards().rank == 0 else contextlib.nullcontext():
        if shards().rank == 0:
            sweep(folder)
        _remaining_rounds(params, seed, root, strategies, say)
    return saved_rounds(params, seed, root)


def _remaining_rounds(params, seed, root, strategies, say):
    run = open_run(params, seed, root, strategies, say)
    first = next((t for t in range(params.rounds + 1) if not checkpoints.is_finished(run.folder, t)), params.rounds + 1)
    if first <= params.rounds:
        policy = models.with_adapter(run.base, run.lora, run.stream("adapter"))
        if first == 0:
            say(initial_round(run, policy))
        else:
            models.set_adapter_state(policy, checkpoints.load_adapter(run.folder, first - 1))
        labelled = checkpoints.load_labelled(run.folder, first - 1, {p.id: p for p in run.task.prompts})
        for t in range(max(1, first), params.rounds + 1):
            policy, labelled, line = active_round(run, policy, labelled, t)
            say(line)


def saved_rounds(params, seed, root):
    """The tidy table of a finished run."""
    folder = run_folder(params, seed, root)
    return pd.DataFrame([checkpoints.load_row(folder, t) for t in range(params.rounds + 1)])


def active_round(run, policy, labelled, t):
    """Round t of Algorithm 1. Returns (policy, all labelled pairs, a line of progress)."""
    params, clock = run.params, Clock()
    with clock("generate"):
        prompts = sample_prompts(run.task.prompts, params.generation.prompts, run.stream("prompts", t))
        pool = pool_of_round(run, policy, prompts, labelled, t)  # l. 3
    with clock("measure"):
        candidates = measure_pool(run, policy, pool, labelled, t)
    with clock("select"):
        batch = min(params.batch_size, len(pool.pairs))
        picked = run.strategy.select(candidates, batch, run.stream("select", t))  # l. 4-9: Eq. 3, Eq. 4
    with clock("label"):
        pairs, how = [pool.pair(row) for row in picked.indices], params.oracle
        new = label(run.score, pairs, run.stream("label", t), how.label, how.flip, t)  # l. 10
    with clock("train"):
        policy, loss = train(run, policy, labelled, new, t)  # l. 11: Eq. 2
    with clock("evaluate"):
        measures, _ = evaluate_policy(run, policy, checkpoints.load_array(run.folder, 0, "rewards"))
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


def initial_round(run, policy):
    """Round 0: pi_SFT evaluated, before any label."""
    clock = Clock()
    with clock("evaluate"):
        measures, rewards = evaluate_policy(run, policy)
    return save(run, 0, policy, measures, clock, 0, (), {"rewards": rewards})


def sample_prompts(prompts, count, stream):
    """The round's prompts, drawn without replacement: the same for every strategy (Sec. 4)."""
    rows = stream.numpy().choice(len(prompts), count, replace=False)
    return [prompts[row] for row in rows]


def pool_of_round(run, policy, prompts, labelled, t):
    """D_t: responses of the current policy; for a strategy that never regenerates, pi_SFT's, a prompt's always the same."""
    fixed = not run.strategy.regenerates
    noise = run.stream("generate", 1 if fixed else t)
    settings, length = run.params.generation, run.params.task.max_new_tokens
    return make_pool(policy, run.tokenizer, prompts, noise, settings, length, labelled, from_reference=fixed)


def measure_pool(run, policy, pool, labelled, t):
    """The columns that the strategy needs, with V's past (D3) and ridge (D2) as the earlier rounds left them."""
    params = run.params
    keeps = "phi" in run.strategy.needs and params.selection.past == "keep"
    kept = [checkpoints.load_array(run.folder, past, "phi") for past in range(1, t)] if keeps else []
    ridge = checkpoints.load_array(run.folder, 1, "ridge") if t > 1 and "phi" in run.strategy.needs else None
    extra = {
        "stream": run.stream("entropy", t),
        "max_new_tokens": params.task.max_new_tokens,
        "batch_sequences": params.generation.batch_sequences,
    }
    return measure(
        policy, run.tokenizer, pool, run.strategy.needs, labelled, params.selection, run.stream("projection"),
        beta=params.dpo.beta, kept_phi=np.concatenate(kept) if kept else None,
        ridge=None if ridge is None else float(ridge), entropy=extra, folder=checkpoints.scratch_folder(run.folder, t),
        say=run.say,
    )  # fmt: skip


def train(run, policy, labelled, new, t):
    """DPO on the new batch from theta_{t-1}, or what D5 says instead. Returns (policy, mean loss in nats)."""
    settings = asdict(run.params.dpo)
    train_on = settings.pop("train_on")  # D5
    if train_on == "all_from_sft":
        policy = models.with_adapter(policy.unload(), run.lora, run.stream("adapter"))
    data = new if train_on == "new" else (*labelled, *new)
    return dpo(policy, run.tokenizer, data, run.lora, run.stream("train", t), **settings)


def evaluate_policy(run, policy, initial_rewards=None):
    """Measures on the held-out prompts; prompts and sampling numbers are the same in every round and strategy (D14)."""
    params, count = run.params, run.params.evaluation.responses
    pool = generate(
        policy, run.tokenizer, run.task.evaluation, run.stream("evaluate"), count, params.task.max_new_tokens,
        params.generation.temperature, params.generation.batch_sequences,
    )  # fmt: skip
    return evaluate(pool, count, run.score, initial_rewards, run.task.utility)


def save(run, t, policy, measures, clock, labels, new, arrays):
    """Save round t whole; returns its line of progress."""
    params = run.params
    cell = {"task": run.task.name, "model": params.model.name, "strategy": params.strategy, "seed": run.seed}
    row = cell | {"round": t, "labels": labels} | measures | clock.row()
    state = models.adapter_state(policy)
    if shards().rank == 0:
        checkpoints.save_round(run.folder, t, row, provenance(params.digest(), run.seed), state, new, arrays)
    shards().collect([])  # nobody goes on before the round is saved
    return (
        f"[{' '.join(map(str, cell.values()))}] round {t}/{params.rounds}: {labels} labels, reward {row['reward']:+.3f}, "
        f"win-rate {row['win_rate']:.1%}, {row['seconds']:.1f} s"
    )


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
        return {"seconds": sum(self._parts.values()), "cpu_seconds": time.process_time() - self._cpu, **self._parts}
