"""One round of ActiveDPO at the paper's size, whole, through the steps that a run takes: seconds,
peak memory and share of the card's peak for each, beside what the cost model predicts.

Weights are random, prompts are random words of the task's length, and the oracle is made up: a
label costs nothing here. Random weights end a response by chance only, so responses have their full
length, the most that they can cost.
"""

import dataclasses
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from activedpo_lib.method import adapters
from activedpo_lib.method.candidates import measure, sequences
from activedpo_lib.method.gradients import response_features
from activedpo_lib.method.models import word_tokenizer
from activedpo_lib.method.strategies import make_strategy
from activedpo_lib.params import load_params
from activedpo_lib.records import Budget, Past, Prompt, Task
from activedpo_lib.runs import steps
from activedpo_lib.runs.run import Run
from activedpo_lib.runtime import device
from activedpo_lib.shards import SingleProcess
from activedpo_lib.streams import stream
from activedpo_lib.study.costs import ASSUMED_GPU, Sizes, selection_flops
from benchmarks.cards import SHAPES, peak_flops, policy_of, timed
from benchmarks.generation import padded
from benchmarks.gpu_parts import Nothing
from benchmarks.measure import Row

# What the small path has of each; all else is params/paper.yaml.
SMALL = {
    "generation.prompts": 8, "evaluation.prompts": 4, "task.max_new_tokens": 6,
    "task.prompt_tokens": 10, "selection.dimensions": 64, "lora.rank": 4, "batch_size": 6,
}  # fmt: skip
MODELS = {"gemma-2b": "gemma", "llama-2-7b": "llama", "small": "llama"}
THEIRS, SEQUENCES = 0.1, 192  # `generate()` is timed on this share of the prompts, in such batches
WITH, WITHOUT = "DPO, gradient checkpointing", "DPO, no checkpointing"
GRAPHED = "generate, a step as one graph"


@dataclass(frozen=True)
class Part:
    """What one part of the round took, and its operations by the cost model (NaN: none told)."""

    name: str
    seconds: float
    peak_mib: float = math.nan
    flops: float = math.nan


def opened(name, task, overrides, folder):
    """(Run, policy) of the paper's params with a random model of that shape, and random prompts."""
    changes = (SMALL if name == "small" else {}) | overrides
    params = load_params("paper", task, MODELS[name], "activedpo", changes)
    config = adapters.lora_config(params.lora.rank, params.lora.alpha, params.lora.targets)
    policy, vocabulary = policy_of(name, config), SHAPES[name].vocab_size
    rng, length = stream(0, "prompts").numpy(), params.task.prompt_tokens

    def drawn(kind, count):
        texts = (
            rng.integers(0, vocabulary - 3, rng.integers(length // 2, 3 * length // 2 + 1))
            for _ in range(count)
        )
        return tuple(
            Prompt(f"{kind}{at}", " ".join(f"w{word}" for word in words))
            for at, words in enumerate(texts)
        )

    count, evaluated = params.generation.prompts, params.evaluation.prompts
    data = Task(task, (), (), (), drawn("p", count), drawn("e", evaluated))
    tokenizer = word_tokenizer(f"w{at}" for at in range(vocabulary - 3))
    strategy = make_strategy("activedpo", vars(params.selection))
    base = policy.get_base_model()
    run = Run(
        params, 0, Path(folder), strategy, data, tokenizer, base, config, made_up_score, None,
        SingleProcess(), print,
    )  # fmt: skip
    return run, policy


def made_up_score(prompts, texts):
    """A reward of each text, (n,): how many words it has twice."""
    return np.array([len(text.split()) - len(set(text.split())) for text in texts], dtype=float)


def measured(run, policy):
    """(Parts in Algorithm 1's order, seconds that `generate()` takes for the same responses)."""
    prompts = steps.sample_prompts(run, 1)
    few = steps.pool_of_round(run, policy, prompts[:2], (), 1)  # compiles kernels, fills allocators
    response_features(policy, *sequences(few), Nothing())
    seconds, peak, pool = timed(lambda: steps.pool_of_round(run, policy, prompts, (), 1))
    size, responses = sizes(policy, pool), run.params.generation.responses
    parts = [Part("generate", seconds, peak, len(prompts) * size.generation(responses))]
    theirs = generate_seconds(run, policy, pool)
    reader, needs = steps.reader_of(run, policy, 1), steps.needs(run)
    read, budget = sequences(pool), Budget(run.params.selection.token_budget)
    bare, peak, _ = timed(lambda: response_features(policy, *read, Nothing(), budget))
    parts.append(Part("gradients", bare, peak, len(pool.responses) * size.features()))
    whole, peak, candidates = timed(lambda: measure(pool, needs, Past(), reader))
    parts.append(Part("project", whole - bare, peak, len(pool.responses) * size.fold()))
    batch = min(run.params.batch_size, len(pool.pairs))
    seconds, peak, picked = timed(lambda: steps.select(run, pool, candidates, batch, 1))
    dimensions, labelled_before = run.params.selection.dimensions, 0
    flops = selection_flops(len(pool.pairs), dimensions, labelled_before, batch)
    parts.append(Part("select", seconds, peak, flops))
    pairs = [pool.pair(row) for row in picked.indices]
    labelled = steps.label_picked(run, pairs, candidates, picked.indices, 1)
    policy, dpo = trained(run, policy, labelled, True)
    flops = len(labelled) * size.dpo(run.params.dpo.epochs)
    parts.append(Part(WITH, *dpo, flops))
    seconds, peak, _ = timed(lambda: steps.evaluate_policy(run, policy))
    evaluated = len(run.task.evaluation) * size.generation(run.params.evaluation.responses)
    parts.append(Part("evaluate", seconds, peak, evaluated))
    policy.get_base_model().gradient_checkpointing_disable()
    trained_too, dpo = trained(run, policy, labelled, False)
    parts.append(Part(WITHOUT, *dpo, flops))
    # Last: graphs hold memory, and where none can be made nothing follows.
    return [*parts, in_graphs(run, trained_too, prompts, parts[0].flops)], theirs


def in_graphs(run, policy, prompts, flops):
    """The Part of the same responses by a cache of fixed size; NaN where no graph can be made."""
    given = run.params.generation
    sequences_at_once = given.batch_sequences or SEQUENCES
    how = dataclasses.replace(given, graphed=True, batch_sequences=sequences_at_once)
    run = dataclasses.replace(run, params=dataclasses.replace(run.params, generation=how))

    def written():
        return steps.pool_of_round(run, policy, prompts, (), 1)

    try:
        written()  # records the graphs
        seconds, peak, _ = timed(written)
    except Exception as error:  # the compiler's are of many kinds, and none is worth the round
        print(error)
        return Part(GRAPHED, math.nan, math.nan, flops)
    return Part(GRAPHED, seconds, peak, flops)


def trained(run, policy, labelled, checkpointing):
    """(policy, (seconds, peak MiB)) of the round's DPO; NaN where the card cannot hold it."""
    how = dataclasses.replace(run.params.dpo, gradient_checkpointing=checkpointing)
    run = dataclasses.replace(run, params=dataclasses.replace(run.params, dpo=how))
    try:
        seconds, peak, (policy, _) = timed(lambda: steps.train(run, policy, (), labelled, 1))
    except MemoryError as error:
        print(error)
        return policy, (math.nan, math.nan)
    return policy, (seconds, peak)


def generate_seconds(run, policy, pool):
    """What `generate(num_return_sequences=3)` takes for the pool's responses: timed on THEIRS of
    its prompts, in batches of as many sequences as the paper's profile once guessed.
    """
    asked = list(pool.prompt_tokens)[: max(1, int(THEIRS * len(pool.prompt_tokens)))]
    copies, step = run.params.generation.responses, SEQUENCES // run.params.generation.responses

    @torch.inference_mode()
    def call():
        for start in range(0, len(asked), step):
            ids, mask = (part.to(device()) for part in padded(asked[start : start + step]))
            policy.generate(
                input_ids=ids, attention_mask=mask, do_sample=True, top_k=0,
                max_new_tokens=run.params.task.max_new_tokens, num_return_sequences=copies,
            )  # fmt: skip

    return timed(call)[0] * len(pool.prompt_tokens) / len(asked)


def sizes(policy, pool):
    """The cost model's Sizes of this model, with the lengths that the pool has."""
    base = policy.get_base_model()
    adapter = sum(p.numel() for name, p in policy.named_parameters() if "lora_" in name)
    linear = sum(
        p.numel()
        for name, p in base.get_decoder().named_parameters()
        if p.dim() == 2 and "lora_" not in name and "embed" not in name
    )
    prompt, response = (np.mean([len(each) for each in part]) for part in sequences(pool))
    return Sizes(linear, base.lm_head.weight.numel(), adapter, float(prompt), float(response))


def rows_of(name, task, overrides):
    """(Rows, Parts) of one model on one task; goals are judged where a card is, at the paper's
    sizes.
    """
    with tempfile.TemporaryDirectory() as folder:
        parts, theirs = measured(*opened(name, task, overrides, folder))
    return list(judged(name, parts, theirs)), parts


def judged(name, parts, theirs):
    """The goals of a round on one card of 80 GB, one by one; without a bar where none is judged."""
    found = {part.name: part for part in parts}
    shared = [part for part in parts if part.name not in (WITH, WITHOUT, GRAPHED)]
    whole = sum(part.seconds for part in [*shared, found[WITH]])
    real = device().type == "cuda" and name != "small"
    # NaN, which np.max keeps and no bar holds, where one did not fit.
    gib = {
        how: np.max([part.peak_mib for part in [*shared, found[how]]]) / 1024
        for how in (WITH, WITHOUT)
    }
    goals = [
        ("gradients: share of the card's bf16 peak", share(found["gradients"]), "", 0.4, None),
        ("selection", found["select"].seconds, "s", None, 1),
        ("generate() / ours, same responses", theirs / found["generate"].seconds, "x", 3, None),
        ("generate() / ours in graphs", theirs / found[GRAPHED].seconds, "x", None, None),
        ("the whole round", whole, "s", None, 600 if name == "llama-2-7b" else None),
        (f"peak memory of the round, {WITHOUT}", gib[WITHOUT], "GiB", None, 70),
        (f"peak memory of the round, {WITH}", gib[WITH], "GiB", None, 40),
    ]
    for what, value, unit, least, most in goals:
        yield Row(what, float(value), unit, most if real else None, least if real else None)


def share(part):
    """A part's operations a second, as a share of the card's bf16 peak."""
    return part.flops / part.seconds / peak_flops()


def table(parts):
    """Markdown, a line a part: what was measured here, and what the cost model says of the same
    operations at 40 % of an H100's peak.
    """
    lines = [
        "| part | measured | peak memory | share of the card's bf16 peak | predicted (40 % of an "
        "H100's peak) |",
        "|---|---|---|---|---|",
    ]
    for part in parts:
        told = (
            f"{part.seconds:.3g} s", f"{part.peak_mib / 1024:.3g} GiB", f"{share(part):.1%}",
            f"{part.flops / ASSUMED_GPU:.3g} s",
        )  # fmt: skip
        lines.append(" | ".join((f"| {part.name}", *told)) + " |")
    return (
        "\n".join(lines).replace("nan GiB", "-").replace("nan%", "-").replace("nan s", "-") + "\n"
    )
