"""What the cost model says of large pools, and of a round at the paper's size: `python -m
benchmarks.predict` prints the tables of benchmarks/README.md, and that of cards which share a pool
(docs/how/paper_size.md).
"""

from activedpo_lib.params import load_grid, load_params
from activedpo_lib.study.costs import (
    ASSUMED_GPU,
    Sizes,
    pick_traffic,
    selection_bytes,
    step_traffic,
)
from activedpo_lib.study.run_costs import sizes

READ = 2e9  # bytes a second of a local disk, a GPU's own slice each
LLAMA_7B = Sizes(weights=6.48e9, head=0.13e9, adapter=134e6, prompt=192, response=160)
DIMENSIONS = 8192


def duration(seconds):
    """Seconds as a short text."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{short(seconds / size, 10)} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"


def short(value, whole_from):
    """A number as text: one digit after the point, none from `whole_from` on."""
    return f"{value:.1f}" if value < whole_from else f"{value:,.0f}"


def table():
    """One line a pool: three responses a prompt, so as many pairs as responses."""
    lines = [
        "| pairs | features on disk | gradients on 1 / 8 / 64 GPUs | one read of the pool on 1 / 8 "
        "/ 64 |",
        "|---|---|---|---|",
    ]
    for pairs in (10**5, 10**6, 10**8):
        size = selection_bytes(pairs, DIMENSIONS)
        work = [duration(pairs * LLAMA_7B.features() / ASSUMED_GPU / gpus) for gpus in (1, 8, 64)]
        read = [duration(size / READ / gpus) for gpus in (1, 8, 64)]
        lines.append(
            f"| 10^{len(str(pairs)) - 1} | {short(size / 2**30, 100)} GiB | {' / '.join(work)} | "
            f"{' / '.join(read)} |"
        )
    return "\n".join(lines)


def round_seconds(params):
    """{part: seconds} of one round of these params by the cost model; every response has its full
    length.
    """
    size, pool, evaluation = sizes(params), params.generation, params.evaluation
    flops = {
        "generate": pool.prompts * size.generation(pool.responses),
        "gradients": pool.prompts * pool.responses * size.features(),
        "DPO": params.batch_size * size.dpo(params.dpo.epochs),
        "evaluate": evaluation.prompts * size.generation(evaluation.responses),
    }
    return {part: count / ASSUMED_GPU for part, count in flops.items()}


def round_table():
    """One line a model and task of params/paper.yaml."""
    lines = [
        "| one round | generate | gradients | DPO | evaluate | all |",
        "|---|---|---|---|---|---|",
    ]
    grid = load_grid("paper")
    for model in grid.models:
        for task in grid.tasks:
            told = round_seconds(load_params("paper", task, model))
            cells = [*map(duration, told.values()), duration(sum(told.values()))]
            lines.append(" | ".join((f"| {model}, {task}", *cells)) + " |")
    return "\n".join(lines)


def shared():
    """One line a number of cards: a round of 10^6 pairs, 50 picks, 4 epochs of 7 steps of DPO."""
    pairs, picks, steps = 10**6, 50, 28
    lines = [
        "| cards | gradients | one read of the pool | pairs' features, each | a card receives, to "
        "pick | to train |",
        "|---|---|---|---|---|---|",
    ]
    size = selection_bytes(pairs, DIMENSIONS)
    for cards in (1, 8, 64):
        work = duration(pairs * LLAMA_7B.features() / ASSUMED_GPU / cards)
        pick = f"{picks * pick_traffic(DIMENSIONS, cards) / 1e6:.1f} MB"
        train = f"{steps * step_traffic(LLAMA_7B.adapter, cards) / 1e9:.0f} GB"
        received = f"{pick} | {train}" if cards > 1 else "- | -"
        lines.append(
            f"| {cards} | {work} | {duration(size / READ / cards)} | {size / cards / 2**30:.1f} "
            f"GiB | {received} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    print(round_table())
    print(shared())
