"""Looking into finished runs: what was picked, what was forgotten, what uncertainty says of the
error.

A probe takes a Run whose rounds are saved, and writes nothing: pools and policies are made again
from their streams.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from activedpo_lib.method import models
from activedpo_lib.method.candidates import labelled_sequences, sequences
from activedpo_lib.method.design import uncertainty
from activedpo_lib.method.formulas import share_above
from activedpo_lib.method.generation import pair_name
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import implicit_rewards, reference_logps, response_logps
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Candidates, Pool, Strategy
from activedpo_lib.runs import checkpoints
from activedpo_lib.runs.rounds import measure_pool
from activedpo_lib.runs.saved import saved_policies
from activedpo_lib.runs.steps import (
    evaluate_policy,
    evaluation_responses,
    initial_rewards,
    label_pairs,
    pool_of_round,
    sample_prompts,
    train,
)

EVERYTHING = frozenset({"phi", "margin", "entropy", "hidden"})
MOST_DEMONSTRATIONS = 200


class Round(NamedTuple):
    """Round t as it was before its labels: the policy pi_{t-1}, its Pool, Candidates, and the
    LabelledPairs before it.
    """

    t: int
    policy: object
    pool: Pool
    candidates: Candidates
    labelled: tuple


def rounds_again(run, wanted=None, needs=EVERYTHING):
    """Yield the Rounds 1..T of a finished run, or those in `wanted`, with the columns in `needs`
    measured.
    """
    prompts = {prompt.id: prompt for prompt in run.task.prompts}
    measured = dataclasses.replace(run, strategy=Strategy(needs, None, run.strategy.regenerates))
    for before, policy in saved_policies(run, run.params.rounds - 1):
        t = before + 1
        if wanted is None or t in wanted:
            labelled = checkpoints.load_labelled(run.folder, before, prompts)
            drawn = sample_prompts(
                run.task.prompts, run.params.generation.prompts, run.stream("prompts", t)
            )
            pool = pool_of_round(run, policy, drawn, labelled, t)
            yield Round(
                t, policy, pool, measure_pool(measured, policy, pool, labelled, t), labelled
            )


def forgetting(run):
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


def demonstration_loss(run, policy):
    """Mean negative log-likelihood of the demonstrations, nats a token."""
    rows = run.task.sft[:MOST_DEMONSTRATIONS]
    prompts = [models.encode_prompt(run.tokenizer, row["prompt"]) for row in rows]
    responses = [models.encode_response(run.tokenizer, row["completion"]) for row in rows]
    return float(-response_logps(policy, prompts, responses).sum() / sum(map(len, responses)))


def picks_of(run, t):
    """Rows of `Pool.pairs` that round t picked, given its Round: matched by prompt and texts."""
    prompts = {prompt.id: prompt for prompt in run.task.prompts}
    new = [
        pair for pair in checkpoints.load_labelled(run.folder, t.t, prompts) if pair.round == t.t
    ]
    names = {}
    for row in range(len(t.pool.pairs)):
        pair = t.pool.pair(row)
        names[pair_name(pair.prompt, pair.first, pair.second)] = row
    return np.array([names[pair_name(pair.prompt, pair.chosen, pair.rejected)] for pair in new])


def criteria(candidates, apo_ridge):
    """{criterion: (n,) its value for each pair of the pool}, as each strategy would see the pool
    before its first pick.
    """
    margin = np.abs(candidates.margin.astype(np.float64))
    return {
        "uncertainty (ActiveDPO)": uncertainty(
            candidates.phi, candidates.ridge, candidates.past_phi
        ),
        "gradient norm": np.linalg.norm(candidates.phi.astype(np.float64), axis=1),
        "entropy (APLP)": candidates.entropy[candidates.prompt],
        "|r1 - r2| (APLP)": margin,
        "hidden states (APO)": uncertainty(candidates.hidden, apo_ridge, candidates.past_hidden),
    }


def ranks(values):
    """Each value's share of values below it, ties counted half: 0 the lowest, 1 the highest, 0.5
    what chance picks.
    """
    values = np.asarray(values)
    below = (values[:, None] > values).sum(1) + 0.5 * ((values[:, None] == values).sum(1) - 1)
    return below / max(1, len(values) - 1)


def picked(run, wanted=None, ranked=True):
    """One row a pick: round, its responses' length and overlap against the pool's, topic and,
    `ranked`, its rank under each criterion (which costs measuring them all).
    """
    rows = []
    for t in rounds_again(run, wanted, EVERYTHING if ranked else frozenset()):
        lengths, shared = pair_lengths(t.pool), overlaps(t.pool)
        seen = criteria(t.candidates, run.params.selection.apo_ridge) if ranked else {}
        places = {name: ranks(values) for name, values in seen.items()}
        for row in picks_of(run, t):
            facts = t.pool.prompts[t.candidates.prompt[row]].facts
            rows.append(
                {
                    "round": t.t,
                    "prompt": t.pool.prompts[t.candidates.prompt[row]].id,
                    "topic": facts.get("topic", facts.get("domain", "")),
                    "length": lengths[row],
                    "pool length": lengths.mean(),
                    "overlap": shared[row],
                    "pool overlap": shared.mean(),
                }
                | {name: values[row] for name, values in places.items()}
            )
    return rows


def pair_lengths(pool):
    """Mean length of each pair's two responses, (n,) tokens."""
    lengths = np.array([len(response.tokens) for response in pool.responses], dtype=np.float64)
    return lengths[pool.pairs].mean(1)


def overlaps(pool):
    """How much of their words a pair's responses share, (n,): intersection over union of their
    distinct tokens.
    """
    words = [set(response.tokens) for response in pool.responses]
    return np.array([len(words[a] & words[b]) / len(words[a] | words[b]) for a, b in pool.pairs])


def uncertainty_and_error(run):
    """One dict a round: `error` (n,) = |(r(x, y1) - r(x, y2)) - (u(x, y1) - u(x, y2))| of each pair
    of the pool, and what might rank it: uncertainty, gradient norm, |r1 - r2|, length. Raises
    ValueError where the truth is not known.
    """
    if run.task.utility is None:
        raise ValueError(
            f"{run.task.name} is real text: Proposition 1 can be checked only where the true "
            "reward is known"
        )
    found = []
    for t in rounds_again(run, needs=frozenset({"phi", "margin"})):
        pool, seen = t.pool, t.candidates
        true = np.array(
            [
                run.task.utility(pool.prompts[k], r.text)
                for k, r in zip(pool.prompt_index, pool.responses, strict=True)
            ]
        )
        gap = true[pool.pairs[:, 0]] - true[pool.pairs[:, 1]]
        found.append(
            {"round": t.t, "error": np.abs(seen.margin - gap), "true gap": np.abs(gap),
             "uncertainty": uncertainty(seen.phi, seen.ridge, seen.past_phi),
             "gradient norm": np.linalg.norm(seen.phi.astype(np.float64), axis=1),
             "|r1 - r2|": np.abs(seen.margin.astype(np.float64)), "length": pair_lengths(pool)}
        )  # fmt: skip
    return found


def pool_gradients(run, t=1, kind=None, dimensions=None):
    """(pool, Features of its responses) of round t: `norm` is exact, `phi` projected as the run's
    params or `kind` say.
    """
    again = next(rounds_again(run, {t}, frozenset()))
    settings, shapes = run.params.selection, gradient_shapes(again.policy)
    size = dimensions or settings.dimensions
    projection = make_projection(
        kind or settings.projection, size, run.stream("projection").seed, shapes
    )
    return again.pool, response_features(
        again.policy, *sequences(again.pool), projection, settings.token_budget
    )


def taught(run, choose):
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
