"""The steps of one round, each from a Run: its prompts, its pool, what is measured of it, labels,
training, evaluation. `rounds.active_round` takes them in Algorithm 1's order.

Of several processes each writes and measures its own share; `meetings.py` is where they meet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from peft import PeftModel

from activedpo_lib.method import adapters, replay
from activedpo_lib.method.candidates import Reader
from activedpo_lib.method.ceilings import CEILINGS
from activedpo_lib.method.evaluation import evaluate
from activedpo_lib.method.formulas import implicit_reward
from activedpo_lib.method.generation import generate, without_labelled
from activedpo_lib.method.logps import reference
from activedpo_lib.method.oracles import answered, label
from activedpo_lib.method.strategies.posterior import reward_posterior
from activedpo_lib.method.training import dpo
from activedpo_lib.records import (
    Budget,
    Candidates,
    FeatureRule,
    Fit,
    LabelledPair,
    Pair,
    Past,
    Pool,
    Prompt,
    Sampling,
    Selection,
)
from activedpo_lib.runs import by_hand, checkpoints
from activedpo_lib.runs.meetings import joined_pool
from activedpo_lib.runs.run import Run
from activedpo_lib.schema import Params
from activedpo_lib.tasks import pools

Labelled = tuple[LabelledPair, ...]


def sample_prompts(run: Run, t: int) -> list[Prompt]:
    """Round t's prompts, drawn without replacement: the same for every strategy (Sec. 4)."""
    prompts, count = run.task.prompts, run.params.generation.prompts
    task, rng = run.params.task, run.stream("prompts", t).numpy()
    return pools.draw(prompts, count, task.copies, task.duplicated, rng)


def pool_of_round(
    run: Run, policy: PeftModel, prompts: Sequence[Prompt], labelled: Labelled, t: int
) -> Pool:
    """D_t (Alg. 1 l. 3), without what was labelled: responses of the current policy; for a strategy
    that never regenerates (APO), pi_SFT's, a prompt's always the same.
    """
    if run.params.replay:
        shown = run.stream("replay")
        return replay.comparison_pool(run.tokenizer, prompts, labelled, stream=shown)
    fixed = not run.strategy.regenerates
    noise = run.stream("generate", 1 if fixed else t)
    with reference(policy) if fixed else contextlib.nullcontext():
        pool = generate(policy, run.tokenizer, prompts, sampling(run.params), stream=noise)
    return without_labelled(pool, labelled)


def sampling(params: Params, responses: int | None = None) -> Sampling:
    """How a run samples (D9): as many responses as its pool has, or `responses`."""
    given = params.generation
    return Sampling(
        responses or given.responses,
        params.task.max_new_tokens,
        given.temperature,
        given.top_k,
        given.top_p,
        given.batch_sequences,
        given.graphed,
    )


def reader_of(run: Run, policy: PeftModel, t: int) -> Reader:
    """What reads round t's pool: the policy, by the run's decisions."""
    said, folder = run.params.selection, checkpoints.scratch_folder(run.folder, t)
    if run.processes.count > 1:
        folder = folder / f"process{run.processes.rank}"
    seed = run.stream("projection").seed  # one for all rounds (D7)
    rule = FeatureRule(
        said.projection, said.dimensions, seed, said.normalise, said.normalise_when, said.past,
        said.ridge, said.ridge_is,
    )  # fmt: skip
    extra = said.entropy_samples
    plain = sampling(run.params, extra)._replace(temperature=1.0, top_k=0, top_p=1.0)
    return Reader(
        policy,
        run.tokenizer,
        rule,
        run.params.dpo.beta,
        plain if extra else None,
        run.stream("entropy", t),
        targets_of(run, policy, t) if "target_phi" in needs(run) else None,
        Budget(said.token_budget, said.memory_mib, folder),
        run.log,
    )


def targets_of(run: Run, policy: PeftModel, t: int) -> Pool | None:
    """Responses to this process's share of EPIG's held-out prompts, or None where it has none."""
    prompts = run.task.evaluation[: run.params.selection.target_prompts]
    if not (own := prompts[run.processes.share(len(prompts))]):
        return None
    noise = run.stream("targets", t)
    return generate(policy, run.tokenizer, own, sampling(run.params), stream=noise)


def needs(run: Run) -> frozenset[str]:
    """The columns that a round of this run measures: for the pick, and for labels of its own."""
    given, labels = run.params, {"policy": {"margin"}, "posterior": {"phi"}}
    picks = CEILINGS[given.ceiling].needs if given.ceiling else run.strategy.needs
    return picks | labels.get(given.oracle.after_first, frozenset())


def select(run: Run, pool: Pool, candidates: Candidates, batch_size: int, t: int) -> Selection:
    """Round t's picks: the strategy's, or a ceiling's, which knows the oracle's rewards."""
    randomness = run.stream("select", t)
    if not run.params.ceiling:
        return run.strategy.select(candidates, batch_size, stream=randomness)
    gaps, choose = true_gaps(run, pool), CEILINGS[run.params.ceiling].select
    return choose(candidates, gaps, batch_size, stream=randomness)


def true_gaps(run: Run, pool: Pool) -> np.ndarray:
    """s(y1) - s(y2) of the pool's pairs by the oracle, (n,); in a replay the humans' +1 or -1."""
    if run.score is None:
        pairs = [pool.pair(row) for row in range(len(pool.pairs))]
        first = [
            pair.chosen is asked.first
            for pair, asked in zip(replay.reveal(pairs), pairs, strict=True)
        ]
        return np.where(first, 1.0, -1.0)
    prompts = [pool.prompts[at] for at in pool.prompt_index]
    rewards = run.score(prompts, [response.text for response in pool.responses])
    return rewards[pool.pairs[:, 0]] - rewards[pool.pairs[:, 1]]


def label_picked(
    run: Run, pairs: Sequence[Pair], candidates: Candidates, rows: np.ndarray, t: int
) -> Labelled:
    """The LabelledPairs of the picked rows' pairs, by the oracle or whom `after_first` names."""
    who = run.params.oracle.after_first
    if run.params.oracle.kind == "human":
        return by_hand.labels(run, pairs, candidates, rows, t)
    if who == "oracle" or t == 1:
        return label_pairs(run, pairs, t)
    if who == "coin":
        names = [candidates.ids[row] for row in rows]
        wins = run.stream("label", t).child("coin").uniforms(names) < 0.5
    elif who == "policy":
        wins = candidates.margin[rows] > 0
    else:
        wins = reward_posterior(candidates, run.params.selection.prior).mean[rows] > 0
    return tuple(answered(pair, bool(win), t) for pair, win in zip(pairs, wins, strict=True))


def label_pairs(run: Run, pairs: Sequence[Pair], t: int) -> Labelled:
    """The LabelledPairs of round t: the oracle's answers, or in a replay what humans had said."""
    if run.score is None:
        return replay.reveal(pairs, t)
    how = run.params.oracle
    return label(run.score, pairs, how.label, how.flip, t, stream=run.stream("label", t))


def train(
    run: Run, policy: PeftModel, labelled: Labelled, new: Labelled, t: int
) -> tuple[PeftModel, float]:
    """DPO on the new batch from theta_{t-1}, or what D5 says instead. Returns (policy, mean loss in
    nats).
    """
    said = run.params.dpo
    if said.train_on == "all_from_sft":
        base = adapters.unmerge(policy.unload())
        policy = adapters.with_adapter(base, run.lora, stream=run.stream("adapter"))
    data = new if said.train_on == "new" else (*labelled, *new)  # D5
    fit = Fit(
        said.epochs, said.learning_rate, said.batch_size, said.warmup,
        said.gradient_checkpointing, run.params.selection.token_budget,
    )  # fmt: skip
    randomness = run.stream("train", t)
    policy, loss = dpo(policy, run.tokenizer, data, run.lora, fit, said.beta, stream=randomness)
    return policy, float(np.mean(run.processes.collect([loss])))


def initial_rewards(run: Run) -> dict[str, np.ndarray | None]:
    """What round 0 saved of the initial LLM: rewards of its responses, by the oracle and the
    evaluator; in a replay its log-probabilities of the held-out comparisons.
    """
    names = ("rewards", "evaluator_rewards", "reference_logps")
    return {name: checkpoints.load_array(run.folder, 0, name) for name in names}


def evaluate_policy(
    run: Run, policy: PeftModel, initial: Mapping[str, Any] | None = None
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Measures on the held-out prompts; prompts and sampling numbers are the same in every round
    and strategy (D14).

    initial: from `initial_rewards`; None: this is the initial LLM. Returns (measures, rewards by
    scorer). In a replay the measure is the agreement with held-out human labels, of as many
    comparisons as there are responses otherwise.
    """
    if run.score is None:
        logps = _held_out_logps(run, policy)
        theirs = logps if initial is None else initial["reference_logps"]
        rewards = implicit_reward(logps, theirs, run.params.dpo.beta).astype(np.float64)
        return replay.agreement(rewards), {"reference_logps": theirs}
    count, initial = run.params.evaluation.responses, initial or {}
    pool = evaluation_responses(run, policy)
    measures, rewards = evaluate(pool, count, run.score, initial.get("rewards"), run.task.utility)
    if run.evaluator is None:
        return measures, {"rewards": rewards}
    second, others = evaluate(pool, count, run.evaluator, initial.get("evaluator_rewards"))
    measures |= {f"evaluator_{name}": second[name] for name in ("reward", "win_rate")}
    return measures, {"rewards": rewards, "evaluator_rewards": others}


def _held_out_logps(run: Run, policy: PeftModel) -> np.ndarray:
    """log pi (n, 2) of held-out comparisons, every process's share read by itself."""
    said, tokens = run.params.evaluation, run.params.selection.token_budget
    held_out = run.task.held_out[: said.comparisons or said.prompts * said.responses]
    own = held_out[run.processes.share(len(held_out))]
    logps = replay.held_out_logps(policy, run.tokenizer, own, tokens)
    return np.concatenate(run.processes.collect([logps]))


def evaluation_responses(run: Run, policy: PeftModel) -> Pool:
    """The Pool of the policy's responses to the evaluation prompts (D14)."""
    asked = run.task.evaluation[run.processes.share(len(run.task.evaluation))]
    how = sampling(run.params, run.params.evaluation.responses)
    part = generate(policy, run.tokenizer, asked, how, stream=run.stream("evaluate"))
    return joined_pool(part, run.task.evaluation, run.processes)


def past_of(run: Run, t: int) -> Past:
    """What V remembers after round t, as it was saved."""
    return checkpoints.load_past(run.folder, t, run.prompts)
