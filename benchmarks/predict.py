"""What the cost model says of large pools: `python -m benchmarks.predict` prints the table of
benchmarks/README.md.
"""

from activedpo_lib.study.costs import ASSUMED_GPU, Sizes, selection_bytes

READ = 2e9  # bytes a second of a local disk, a GPU's own slice each
LLAMA_7B = Sizes(weights=6.48e9, head=0.13e9, adapter=134e6, prompt=192, response=160)
DIMENSIONS = 8192


def duration(seconds):
    """Seconds as a short text."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


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
            f"| {pairs:.0e} | {size / 2**30:,.1f} GiB | {' / '.join(work)} | {' / '.join(read)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
