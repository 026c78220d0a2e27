"""A run's folder: one sub-folder a finished round, whole or absent; everything that crosses
rounds.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from activedpo_lib.records import LabelledPair, Past, Prompt, Response
from activedpo_lib.schema import Params
from activedpo_lib.store import content_key, read_json, write_folder, write_json


def run_folder(params: Params, seed: int, root: Path | str) -> Path:
    """Where the run of a task, model, strategy and seed is kept: a folder named by all that it
    depends on.
    """
    name = f"seed{seed}-{content_key(params)}"
    return Path(root) / "rounds" / params.task.name / params.model.name / params.strategy / name


def round_folder(run: Path | str, t: int) -> Path:
    """The folder of round t."""
    return Path(run) / f"round{t}"


def scratch_folder(run: Path | str, t: int) -> Path:
    """Where round t keeps what it need not keep once it is saved: features too large for memory."""
    return Path(run) / f"scratch{t}"


def is_finished(run: Path | str, t: int) -> bool:
    """Whether round t was saved whole."""
    return (round_folder(run, t) / "row.json").is_file()


def load_row(run: Path | str, t: int) -> dict[str, Any]:
    """Round t's row of the tidy table."""
    return read_json(round_folder(run, t) / "row.json")


class Saved(NamedTuple):
    """What a round leaves behind: its row of the tidy table, where it came from, the adapter's
    tensors, what V remembers after it, and arrays for those who look into it later.
    """

    row: dict[str, Any]
    provenance: dict[str, Any]
    adapter: dict[str, torch.Tensor]
    past: Past
    arrays: dict[str, np.ndarray]


def save_round(run: Path, t: int, saved: Saved) -> None:
    """Save round t whole, then drop its scratch files."""
    with write_folder(round_folder(run, t)) as folder:
        write_json(folder / "provenance.json", saved.provenance)
        new = [pair for pair in saved.past.labelled if pair.round == t]
        write_json(folder / "labelled.json", [_as_json(pair) for pair in new])
        adapter = {name: tensor.contiguous() for name, tensor in saved.adapter.items()}
        save_file(adapter, folder / "adapter.safetensors")
        past = {name: getattr(saved.past, name) for name in ("phi", "ridge")}
        known = {name: np.asarray(value) for name, value in past.items() if value is not None}
        np.savez(folder / "past.npz", **known)
        np.savez(folder / "arrays.npz", **saved.arrays)
        write_json(folder / "row.json", saved.row)
    shutil.rmtree(scratch_folder(run, t), ignore_errors=True)


def load_past(run: Path, t: int, prompts: Mapping[str, Prompt]) -> Past:
    """What V remembers after round t (nothing for t < 1); prompts: {id: Prompt} of the task."""
    if t < 1:
        return Past()
    with np.load(round_folder(run, t) / "past.npz", allow_pickle=False) as known:
        phi, ridge = known.get("phi", None), known.get("ridge", None)
    labelled = load_labelled(run, t, prompts)
    return Past(labelled, phi, None if ridge is None else float(ridge))


def drop_adapter(run: Path, t: int) -> None:
    """Forget round t's adapter; it can be trained again from the labels."""
    (round_folder(run, t) / "adapter.safetensors").unlink(missing_ok=True)


def has_adapter(run: Path, t: int) -> bool:
    """Whether round t's adapter is kept."""
    return (round_folder(run, t) / "adapter.safetensors").is_file()


def provenances(
    root: Path | str, digests: Iterable[str], seeds: Iterable[int]
) -> list[dict[str, Any]]:
    """The code and commits that made the runs under `root` with these params' hashes and seeds,
    each once, with its runs.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for path in Path(root).glob("rounds/*/*/*/seed*/round0/provenance.json"):
        found = read_json(path)
        if found["params"] in set(digests) and found["seed"] in seeds:
            counts[found["code"], found["commit"]] += 1
    return [
        {"code": code, "commit": commit, "runs": runs}
        for (code, commit), runs in sorted(counts.items())
    ]


def load_adapter(run: Path, t: int) -> dict[str, torch.Tensor]:
    """The adapter's tensors after round t."""
    return load_file(round_folder(run, t) / "adapter.safetensors")


def load_array(run: Path, t: int, name: str) -> np.ndarray | None:
    """The array `name` of round t, or None."""
    with np.load(round_folder(run, t) / "arrays.npz", allow_pickle=False) as arrays:
        return arrays.get(name, None)


def load_labelled(
    run: Path, rounds: int, prompts: Mapping[str, Prompt]
) -> tuple[LabelledPair, ...]:
    """The LabelledPairs of rounds 1..rounds in the order picked; prompts: {id: Prompt} of the
    task.
    """
    return tuple(
        _from_json(value, prompts)
        for t in range(1, rounds + 1)
        for value in read_json(round_folder(run, t) / "labelled.json")
    )


def _as_json(pair: LabelledPair) -> dict[str, Any]:
    return {
        "prompt_id": pair.prompt.id,
        "prompt": pair.prompt.text,
        "prompt_tokens": pair.prompt_tokens,
        "chosen": {"tokens": pair.chosen.tokens, "text": pair.chosen.text},
        "rejected": {"tokens": pair.rejected.tokens, "text": pair.rejected.text},
        "round": pair.round,
        "tie": pair.tie,
    }


def _from_json(value: dict[str, Any], prompts: Mapping[str, Prompt]) -> LabelledPair:
    prompt = prompts[value["prompt_id"]]
    chosen, rejected = (
        Response(prompt.id, tuple(value[side]["tokens"]), value[side]["text"])
        for side in ("chosen", "rejected")
    )
    tokens = tuple(value["prompt_tokens"])
    return LabelledPair(prompt, tokens, chosen, rejected, value["round"], value.get("tie", False))
