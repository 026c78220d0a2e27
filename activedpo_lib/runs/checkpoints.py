"""A run's folder: one sub-folder a finished round, whole or absent; everything that crosses
rounds.
"""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file

from activedpo_lib.records import LabelledPair, Response
from activedpo_lib.store import content_key, read_json, write_folder, write_json


def run_folder(params, seed, root):
    """Where the run of a task, model, strategy and seed is kept: a folder named by all that it
    depends on.
    """
    name = f"seed{seed}-{content_key(params)}"
    return Path(root) / "rounds" / params.task.name / params.model.name / params.strategy / name


def round_folder(run, t):
    """The folder of round t."""
    return Path(run) / f"round{t}"


def scratch_folder(run, t):
    """Where round t keeps what it need not keep once it is saved: features too large for memory."""
    return Path(run) / f"scratch{t}"


def is_finished(run, t):
    """Whether round t was saved whole."""
    return (round_folder(run, t) / "row.json").is_file()


def load_row(run, t):
    """Round t's row of the tidy table."""
    return read_json(round_folder(run, t) / "row.json")


def save_round(run, t, row, provenance, state, labelled=(), arrays=None):
    """Save round t whole, then drop its scratch files.

    state: the adapter's tensors; labelled: its new LabelledPairs; arrays: {name: numpy array}.
    """
    with write_folder(round_folder(run, t)) as folder:
        write_json(folder / "provenance.json", provenance)
        write_json(folder / "labelled.json", [_as_json(pair) for pair in labelled])
        save_file(
            {name: tensor.contiguous() for name, tensor in state.items()},
            folder / "adapter.safetensors",
        )
        np.savez(folder / "arrays.npz", **(arrays or {}))
        write_json(folder / "row.json", row)
    shutil.rmtree(scratch_folder(run, t), ignore_errors=True)


def provenances(root, digests, seeds):
    """The code and commits that made the runs under `root` with these params' hashes and seeds,
    each once, with its runs.
    """
    counts = Counter()
    for path in Path(root).glob("rounds/*/*/*/seed*/round0/provenance.json"):
        found = read_json(path)
        if found["params"] in set(digests) and found["seed"] in seeds:
            counts[found["code"], found["commit"]] += 1
    return [
        {"code": code, "commit": commit, "runs": runs}
        for (code, commit), runs in sorted(counts.items())
    ]


def load_adapter(run, t):
    """The adapter's tensors after round t."""
    return load_file(round_folder(run, t) / "adapter.safetensors")


def load_array(run, t, name):
    """The array `name` of round t, or None."""
    with np.load(round_folder(run, t) / "arrays.npz", allow_pickle=False) as arrays:
        return arrays.get(name, None)


def load_labelled(run, rounds, prompts):
    """The LabelledPairs of rounds 1..rounds in the order picked; prompts: {id: Prompt} of the
    task.
    """
    return tuple(
        _from_json(value, prompts)
        for t in range(1, rounds + 1)
        for value in read_json(round_folder(run, t) / "labelled.json")
    )


def _as_json(pair):
    return {
        "prompt_id": pair.prompt.id,
        "prompt": pair.prompt.text,
        "prompt_tokens": pair.prompt_tokens,
        "chosen": {"tokens": pair.chosen.tokens, "text": pair.chosen.text},
        "rejected": {"tokens": pair.rejected.tokens, "text": pair.rejected.text},
        "round": pair.round,
    }


def _from_json(value, prompts):
    prompt = prompts[value["prompt_id"]]
    chosen, rejected = (
        Response(prompt.id, tuple(value[side]["tokens"]), value[side]["text"])
        for side in ("chosen", "rejected")
    )
    return LabelledPair(prompt, tuple(value["prompt_tokens"]), chosen, rejected, value["round"])
