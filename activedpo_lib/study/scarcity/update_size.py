"""How far a run moved its model: the size of the update beside what the labels taught.

A gain that a longer step gives as well is no merit of the choice of labels. As in
`study/probing/probes.py`, finished runs are read, and nothing is written.
"""

import dataclasses
from collections.abc import Collection, Container

import numpy as np
import pandas as pd
import torch
from peft import PeftModel

from activedpo_lib.method.candidates import sequences
from activedpo_lib.method.logps import reference_logps, response_logps
from activedpo_lib.method.replay import agreement, held_out_rewards
from activedpo_lib.records import Comparison, Pool
from activedpo_lib.runs.run import Run
from activedpo_lib.runs.saved import policy_after, saved_policies
from activedpo_lib.runs.steps import evaluation_responses
from activedpo_lib.study.studies import NAMES, Study
from activedpo_lib.tasks import load_task

MOST_COMPARISONS = 300


def change_norm(policy: PeftModel) -> float:
    """The Frobenius norm of the policy's weights less pi_SFT's, over all adapted modules: of
    scale B A, and of what was folded into the base before (D12).
    """
    base = policy.get_base_model()
    kept, total = base.__dict__.get("sft_weights", {}), 0.0
    for name, module in base.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        for adapter in module.active_adapters:
            change = module.get_delta_weight(adapter).detach().double()
            if name in kept:
                change += module.base_layer.weight.detach() - kept[name]
            total += float(torch.sum(change * change))
    return float(np.sqrt(total))


def kl_to_sft(policy: PeftModel, pool: Pool, token_budget: int = 4096) -> tuple[float, float]:
    """(mean, standard error) of log pi - log pi_SFT over the pool's responses, nats a response.

    pool: responses that the policy itself sampled at temperature 1, with every token kept: then an
    unbiased estimate of KL(pi || pi_SFT). The error is that over prompts.
    """
    read = sequences(pool)
    ours = response_logps(policy, *read, token_budget).astype(np.float64)
    gaps = ours - reference_logps(policy, *read, token_budget)
    each = pd.Series(gaps).groupby(pool.prompt_index).mean()
    return float(gaps.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def held_out_comparisons(run: Run) -> tuple[Comparison, ...]:
    """At most 300 of the task's held-out human comparisons, the same for every run of a task."""
    task = run.params.task
    if task.source == "world":  # there, they do not depend on how many others are drawn
        task = dataclasses.replace(task, comparison_rows=2)
    return load_task(task, run.params.evaluation.prompts).held_out[:MOST_COMPARISONS]


def update_sizes(
    run: Run, wanted: Collection[int] | None = None, held_out: bool = True
) -> list[dict[str, float]]:
    """One row for each round of a finished run, or for those in `wanted`: how far, and what for.

    change_norm: see above; kl, kl_error: `kl_to_sft` on responses to the evaluation prompts;
    accuracy: the share of held-out comparisons on which the implicit reward agrees with the human,
    ties half (so a half in round 0); nll: its mean -log sigma(r_w - r_l), nats; both only where
    `held_out`, which takes as long as all else.
    """
    asked, budget = held_out_comparisons(run) if held_out else (), run.params.selection.token_budget
    plain = dataclasses.replace(run.params.generation, temperature=1.0, top_k=0, top_p=1.0)
    asking = dataclasses.replace(run, params=dataclasses.replace(run.params, generation=plain))
    rows = []
    every = saved_policies(run, run.params.rounds)
    # Round by round, dropped adapters are trained again: not for rounds that nobody wants.
    for t, policy in every if wanted is None else ((t, policy_after(run, t)) for t in wanted):
        kl, error = kl_to_sft(policy, evaluation_responses(asking, policy), budget)
        row = {"round": t, "change_norm": change_norm(policy), "kl": kl, "kl_error": error}
        if asked:
            beta = run.params.dpo.beta
            said = agreement(held_out_rewards(policy, run.tokenizer, asked, beta, budget))
            row |= {"accuracy": said["agreement"], "nll": said["nll"]}
        rows.append(row)
    return rows


def update_table(
    study: Study,
    results: pd.DataFrame,
    wanted: Collection[int] | None = None,
    variants: Container[str] | None = None,
    held_out: bool = True,
) -> pd.DataFrame:
    """`update_sizes` of all runs of a study, or of some variants', beside `results`' labels and
    reward (in a replay, the agreement), a row a round; a ceiling stands there by the name that
    `results` gives it.
    """
    kept = study.only(lambda cell, _: variants is None or cell[2] in variants)
    rows = []
    for cell, run in kept.runs():
        named = cell | {"strategy": run.params.chooser}
        rows += [named | row for row in update_sizes(run, wanted, held_out)]
    keys = [*NAMES, "seed", "round"]
    measures = [name for name in ("reward", "utility", "agreement") if name in results]
    return pd.DataFrame(rows).merge(results[[*keys, "labels", *measures]], on=keys)
