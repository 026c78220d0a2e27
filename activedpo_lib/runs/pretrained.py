"""Base models, what SFT starts from: shipped with the built-in world, local, or trained once on the
user's own text in a folder named by all that it depends on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from activedpo_lib.method import models, training
from activedpo_lib.method.models import PolicySize
from activedpo_lib.records import Fit, Log
from activedpo_lib.runs.model_hub import model_folder
from activedpo_lib.schema import Params
from activedpo_lib.store import LIBRARY, content_key, provenance, write_folder, write_json
from activedpo_lib.streams import Stream, stream
from activedpo_lib.tasks import load_task
from activedpo_lib.tasks.words import vocabulary
from activedpo_lib.tasks.world import base_text

PRETRAIN_BATCH = 16
Rows = Iterable[Mapping[str, str]]
ASSETS = LIBRARY / "assets"


def pretrain(
    family: str, tokenizer: PreTrainedTokenizerBase, rows: Rows, size: PolicySize, fit: Fit,
    *, randomness: Stream,
) -> PreTrainedModel:  # fmt: skip
    """A randomly initialised model trained on rows {prompt, completion}."""
    model = models.new_policy(family, size, stream=randomness.child("weights"))
    return training.sft(model, tokenizer, rows, fit, stream=randomness.child("train"))[0]


def make_shipped_base(family: str, seed: int, rows: int, folder: Path | str) -> None:
    """The built-in world's base model, as shipped in assets/ (see `python -m
    activedpo_lib.batch.bases`).
    """
    tokenizer = models.word_tokenizer(vocabulary())
    randomness = stream(seed, "base", family)
    size, fit = PolicySize(len(tokenizer), 96, 2, 4), Fit(1.0, 2.0e-3, PRETRAIN_BATCH)
    model = pretrain(family, tokenizer, base_text(rows), size, fit, randomness=randomness)
    models.save(model, tokenizer, folder)


def base_folder(params: Params, root: Path | str, seed: int = 0, log: Log = print) -> Path:
    """The folder of the pre-trained model that SFT starts from: shipped, local, or trained on the
    user's own text.
    """
    model = params.model
    if model.base == "world":
        return ASSETS / f"{model.family}-{seed}"
    if model.base != "config":
        return model_folder(model.base)
    neutral = dataclasses.replace(params, model=dataclasses.replace(model, name=model.family))
    folder = (
        Path(root)
        / "bases"
        / f"{params.task.name}-{model.family}-{seed}-{content_key(neutral, 'task', 'model')}"
    )
    if not (folder / "made.json").is_file():
        log(
            f"[{params.task.name} {model.family}] pre-training a small model on your text "
            f"({model.pretrain_epochs} epochs)"
        )
        with write_folder(folder) as aside:
            _pretrain_on_files(params, seed, aside)
            write_json(aside / "made.json", provenance(params.digest("task", "model"), seed))
    return folder


def _pretrain_on_files(params: Params, seed: int, folder: Path) -> None:
    task, model = load_task(params.task, params.evaluation.prompts), params.model
    rows = list(task.sft) + [
        {"prompt": c.prompt, "completion": text}
        for c in task.comparisons
        for text in (c.chosen, c.rejected)
    ]
    tokenizer = models.bpe_tokenizer(
        (row["prompt"] + row["completion"] for row in rows), model.vocabulary
    )
    randomness = stream(seed, "base", params.task.name, model.family)
    order = randomness.child("rows").numpy().permutation(len(rows))[: model.pretrain_rows or None]
    rows = [rows[i] for i in order]
    size = PolicySize(
        len(tokenizer), model.hidden_size, model.layers, model.heads, model.key_value_heads,
        model.intermediate_size,
    )  # fmt: skip
    fit = Fit(model.pretrain_epochs, model.pretrain_learning_rate, PRETRAIN_BATCH)
    trained = pretrain(model.family, tokenizer, rows, size, fit, randomness=randomness)
    models.save(trained, tokenizer, folder)
