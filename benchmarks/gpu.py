"""One round at the paper's size on one card: `python -m benchmarks.gpu`; on a CPU, `--size small`
tries the same path.

The models have the shapes of Gemma-2B and Llama-2-7B and random weights, in bfloat16; all else is
params/paper.yaml.
"""

import argparse
from pathlib import Path

import torch

from activedpo_lib.runtime import device
from benchmarks import gpu_parts, gpu_round
from benchmarks.cards import SHAPES, card_name
from benchmarks.measure import markdown, save

HERE = Path(__file__).parent


def main(arguments=None):
    """Measure the models asked for; write results/gpu-<card>.md and .json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--size", nargs="+", choices=SHAPES, default=["gemma-2b", "llama-2-7b"])
    parser.add_argument("--task", choices=("tldr", "webgpt"), default="tldr")
    parser.add_argument(
        "--budget", type=int, default=0, help="padded tokens of one batch; 0: what the card holds"
    )
    parser.add_argument(
        "--sequences", type=int, default=0, help="sampled at a time; 0: what the card holds"
    )
    parser.add_argument("--parts", action="store_true", help="the fast core by itself, too")
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder of the table and its JSON"
    )
    given = parser.parse_args(arguments)
    if device().type == "cpu" and given.size != ["small"]:
        parser.error(
            "the paper's sizes need a CUDA device and none was found; --size small tries the path "
            "on a CPU"
        )
    changes = {
        "selection.token_budget": given.budget, "generation.batch_sequences": given.sequences,
    }  # fmt: skip
    found, text = {}, f"{card_name()}, torch {torch.__version__}\n"
    for name in given.size:
        found[name], parts = gpu_round.rows_of(name, given.task, changes)
        if given.parts:
            found[name] += gpu_parts.rows_of(name, given.budget)
        about = f"\n{name}, {given.task}, one round\n\n"
        text += about + gpu_round.table(parts) + "\n" + markdown({name: found[name]})
        print(text, flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    label = f"gpu-{card_name().replace(' ', '-')}-{given.task}"
    save(given.out / f"{label}.json", found)
    (given.out / f"{label}.md").write_text(text, "utf-8")
    return found


if __name__ == "__main__":
    main()
