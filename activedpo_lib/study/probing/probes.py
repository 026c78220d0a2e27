"""Looking into finished runs: their rounds again, what was forgotten, what uncertainty says of the
error.

A probe takes a Run whose rounds are saved, and writes nothing: pools and policies are made again
from their streams.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from peft import PeftModel

from activedpo_lib.method import models
from activedpo_lib.method.candidates import labelled_sequences, measure, sequences
from activedpo_lib.method.formulas import share_above
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import implicit_rewards, reference_logps, response_logps
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Budget, Candidates, Features, LabelledPair, Pool
from activedpo_lib.runs import artifacts
from activedpo_lib.runs.run import Run
from activedpo_lib.runs.saved import saved_policies
from activedpo_lib.runs.steps import (
    evaluate_policy,
    evaluation_responses,
    initial_rewards,
    label_pairs,
    past_of,
    pool_of_round,
    reader_of,
    sample_prompts,
    train,
)
from activedpo_lib.study.studies import NAMES, Study

EVERYTHING = frozenset({"phi", "margin", "entropy", "hidden"})
MOST_DEMONSTRATIONS = 200


class Round(NamedTuple):
    """Round t as it was before its labels: the policy pi_{t-1}, its Pool, Candidates, and the
    LabelledPairs before it.
    """

    t: int
    policy: PeftModel
    pool: Pool
    candidates: Candidates
    labelled: tuple[LabelledPair, ...]


def rounds_again(
    run: Run, wanted: Container[int] | None = None, needs: frozenset[str] = EVERYTHING
) -> Iterator[Round]:
    """Yield the Rounds 1..T of a finished run, or those in `wanted`, with the columns in `needs`
    measured. V_0 is the one that the first pool sets, for every strategy (D2).
    """
    blind = "phi" in needs and "phi" not in run.strategy.needs  # the run itself had no V
    ridge = None
    for before, policy in saved_policies(run, run.params.rounds - 1):
        t = before + 1
        shown = wanted is None or t in wanted
        if not shown and not (blind and t == 1):
            continue
        past = past_of(run, before)
        pool = pool_of_round(run, policy, sample_prompts(run, t), past.labelled, t)
        columns = needs if shown else frozenset({"phi"})
        known = past if past.ridge is not None else past._replace(ridge=ridge)
        with tempfile.TemporaryDirectory() as scratch:  # nothing is left in the run's own folder
            reader = reader_of(run, policy, t)
            budget = reader.budget._replace(folder=Path(scratch))
            reader = dataclasses.replace(reader, budget=budget)
            candidates = measure(pool, columns, known, reader)
            ridge = candidates.ridge
            if shown:
                yield Round(t, policy, pool, candidates, past.labelled)


def forgetting(run: Run) -> list[dict]:
    """One row a round: KL to the reference, loss on demonstrations, reward by the run's oracle and
    by its evaluator.

    kl: mean of log pi_t - log pi_ref over pi_t's own evaluation responses, nats a response (an
    unbiased estimate of KL(pi_t || pi_ref)); sft_loss: nats a token on at most 200 of the
    demonstrations that pi_SFT was trained on.
    """
    rows = []
    for t, policy in saved_policies(run, run.params.rounds):
        pool = evaluation_responses(run, policy)
        read = sequences(pool)
        kl = (response_logps(policy, *read) - reference_logps(policy, *read)).mean()
        prompts, texts = (
            [pool.prompts[at] for at in pool.prompt_index],
            [response.text for response in pool.responses],
        )
        row = {"round": t, "kl": float(kl), "sft_loss": demonstration_loss(run, policy)}
        row["oracle_reward"] = float(run.score(prompts, texts).mean())
        if run.evaluator is not None:
            row["evaluator_reward"] = float(run.evaluator(prompts, texts).mean())
        if run.task.utility is not None:
            row["utility"] = float(
                np.mean([run.task.utility(p, text) for p, text in zip(prompts, texts, strict=True)])
            )
        rows.append(row)
    return rows


def demonstration_loss(run: Run, policy: PeftModel) -> float:
    """Mean negative log-likelihood of the demonstrations, nats a token."""
    rows = run.task.sft[:MOST_DEMONSTRATIONS]
    prompts = [models.encode_prompt(run.tokenizer, row["prompt"]) for row in rows]
    responses = [models.encode_response(run.tokenizer, row["completion"]) for row in rows]
    return float(-response_logps(policy, prompts, responses).sum() / sum(map(len, responses)))


def forgetting_table(study: Study, results: pd.DataFrame, evaluator: str) -> pd.DataFrame:
    """Fig. 9: `forgetting` of all runs beside their labels and rewards, a row a round.

    evaluator: the second reward model, as `evaluation.evaluator`. Raises ValueError where the saved
    policies' rewards are not those of `results`.
    """
    rows = []
    for cell, run in study.runs():
        judge = dataclasses.replace(run.params.evaluation, evaluator=evaluator)
        judged = dataclasses.replace(run.params, evaluation=judge)
        second = artifacts.load_evaluator(judged, study.root)
        rows += [cell | row for row in forgetting(dataclasses.replace(run, evaluator=second))]
    keys = [*NAMES, "seed", "round"]
    found = pd.DataFrame(rows).merge(results[[*keys, "labels", "reward"]])
    same = len(found) == len(rows)
    if not (same and np.allclose(found["oracle_reward"], found["reward"], atol=1e-3)):
        raise ValueError("the saved policies' rewards are not those of the curves: run them anew")
    return found


def pair_lengths(pool: Pool) -> np.ndarray:
    """Mean length of each pair's two responses, (n,) tokens."""
    lengths = np.array([len(response.tokens) for response in pool.responses], dtype=np.float64)
    return lengths[pool.pairs].mean(1)


def overlaps(pool: Pool) -> np.ndarray:
    """How much of their words a pair's responses share, (n,): intersection over union of their
    distinct tokens.
    """
    words = [set(response.tokens) for response in pool.responses]
    return np.array([len(words[a] & words[b]) / len(words[a] | words[b]) for a, b in pool.pairs])


def pool_gradients(
    run: Run, t: int = 1, kind: str | None = None, dimensions: int | None = None
) -> tuple[Pool, Features]:
    """(pool, Features of its responses) of round t: `norm` is exact, `phi` projected as the run's
    params or `kind` say.
    """
    again = next(rounds_again(run, {t}, frozenset()))
    settings, shapes = run.params.selection, gradient_shapes(again.policy)
    size = dimensions or settings.dimensions
    projection = make_projection(
        kind or settings.projection, size, run.stream("projection").seed, shapes
    )
    budget = Budget(settings.token_budget)
    features = response_features(again.policy, *sequences(again.pool), projection, budget)
    return again.pool, features


def taught(
    run: Run, choose: Callable[[Pool, int, np.random.Generator], np.ndarray]
) -> dict[str, float]:
    """What labels on the pairs that `choose(pool, size, rng) -> rows` picks teach pi_SFT.

    One batch from round 1's pool, labelled by the run's oracle, one round of DPO. Returns the share
    of the pool's other pairs whose order the implicit reward has right by the oracle, and the mean
    reward of evaluation responses.
    """
    again = next(rounds_again(run, {1}, frozenset()))
    rows = choose(again.pool, run.params.batch_size, run.stream("taught").numpy())
    labelled = label_pairs(run, [again.pool.pair(row) for row in rows], 1)
    policy, _ = train(run, again.policy, (), labelled, 1)
    rest = np.setdiff1d(np.arange(len(again.pool.pairs)), rows)
    others = label_pairs(run, [again.pool.pair(row) for row in rest], 1)
    chosen, rejected = np.split(
        implicit_rewards(policy, *labelled_sequences(others), run.params.dpo.beta), 2
    )
    measures, _ = evaluate_policy(run, policy, initial_rewards(run))
    return {"agreement": share_above(chosen, rejected), "reward": measures["reward"]}
