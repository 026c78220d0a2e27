"""Base models, what SFT starts from: shipped with the built-in world, local, or trained once, in a
folder named by all that it depends on: on the user's own text, or on the world's in another size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from activedpo_lib.method import models, training
from activedpo_lib.method.decoding.fixed import check_whole_view
from activedpo_lib.method.models import PolicySize
from activedpo_lib.records import Fit, Log
from activedpo_lib.runs.model_hub import model_folder
from activedpo_lib.schema import MADE_HERE, ModelParams, Params
from activedpo_lib.store import LIBRARY, content_key, provenance, write_folder, write_json
from activedpo_lib.streams import Stream, stream
from activedpo_lib.supported import check_policy, check_targets, policy_config
from activedpo_lib.tasks import load_task
from activedpo_lib.tasks.words import vocabulary
from activedpo_lib.tasks.world import base_text

PRETRAIN_BATCH = 16
WORLD_ROWS = 60_000  # of the built-in world's text
LEAST = PolicySize(64, 8, 1, 1)
Rows = Iterable[Mapping[str, str]]
ASSETS = LIBRARY / "assets"


def pretrain(
    family: str, tokenizer: PreTrainedTokenizerBase, rows: Rows, size: PolicySize, fit: Fit,
    *, randomness: Stream,
) -> tuple[PreTrainedModel, float]:  # fmt: skip
    """A randomly initialised model trained on rows {prompt, completion}, and its mean loss on the
    way (nats a token).
    """
    model = models.new_policy(family, size, stream=randomness.child("weights"))
    return training.sft(model, tokenizer, rows, fit, stream=randomness.child("train"))


def make_world_base(model: ModelParams, seed: int, rows: int, folder: Path | str) -> float:
    """A base model of the built-in world, of the shape that `model` names, one epoch on its text;
    returns the mean loss on the way. With the usual shape it is what ships in assets/ (see `python
    -m activedpo_lib.batch.bases`).
    """
    tokenizer = models.word_tokenizer(vocabulary())
    randomness = stream(seed, "base", model.family)
    fit = Fit(1.0, model.pretrain_learning_rate, PRETRAIN_BATCH)
    trained, loss = pretrain(
        model.family, tokenizer, base_text(rows), shape(model, len(tokenizer)), fit,
        randomness=randomness,
    )  # fmt: skip
    models.save(trained, tokenizer, folder)
    return loss


def shape(model: ModelParams, vocabulary_size: int) -> PolicySize:
    """The size of a model that is trained here, with its tokenizer's vocabulary."""
    return PolicySize(
        vocabulary_size, model.hidden_size, model.layers, model.heads, model.key_value_heads,
        model.intermediate_size,
    )  # fmt: skip


def usual_shape(model: ModelParams) -> ModelParams:
    """`model` in the shape, and by the recipe, of the models that ship."""
    return ModelParams(model.name, model.family, model.base, dtype=model.dtype)


def check_base(params: Params) -> None:
    """Raise ModelRefused where the base cannot be a policy or has not the layers that LoRA is put
    on, FileNotFoundError where it is not at hand, ValueError where its steps cannot be a graph:
    from its small files, before any work.
    """
    model, targets = params.model, params.lora.targets
    if model.base in MADE_HERE:  # its family's layers are known
        check_targets(models.new_policy(model.family, LEAST, stream=stream(0, "layers")), targets)
        return
    folder = base_folder(params, "")
    policy_config(folder)
    tokenizer = models.load_tokenizer(folder)
    check_policy(folder, models.as_turns(tokenizer) if model.chat else tokenizer, targets)
    if params.generation.graphed:
        check_whole_view(AutoConfig.from_pretrained(folder))


def base_folder(params: Params, root: Path | str, seed: int = 0, log: Log = print) -> Path:
    """The folder of the pre-trained model that SFT starts from: shipped, local, or trained on the
    user's own text.
    """
    model = params.model
    if model.base == "world" and model == usual_shape(model):
        return ASSETS / f"{model.family}-{seed}"
    if model.base not in MADE_HERE:
        return model_folder(model.base)
    neutral = dataclasses.replace(params, model=dataclasses.replace(model, name=model.family))
    parts = ("model",) if model.base == "world" else ("task", "model")
    where = "world" if model.base == "world" else params.task.name
    name = f"{where}-{model.family}-{seed}-{content_key(neutral, *parts)}"
    folder = Path(root) / "bases" / name
    if not (folder / "made.json").is_file():
        log(f"[{where} {model.family}] pre-training a base of width {model.hidden_size}")
        with write_folder(folder) as aside:
            loss = _pretrain(params, seed, aside)
            write_json(
                aside / "made.json", {"loss": loss, **provenance(params.digest(*parts), seed)}
            )
    return folder


def _pretrain(params: Params, seed: int, folder: Path) -> float:
    """Train a base from nothing and save it; returns its mean loss on the way."""
    if params.model.base == "world":
        rows = params.model.pretrain_rows or WORLD_ROWS
        return make_world_base(params.model, seed, rows, folder)
    return _pretrain_on_files(params, seed, folder)


def _pretrain_on_files(params: Params, seed: int, folder: Path) -> float:
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
    fit = Fit(model.pretrain_epochs, model.pretrain_learning_rate, PRETRAIN_BATCH)
    trained, loss = pretrain(
        model.family, tokenizer, rows, shape(model, len(tokenizer)), fit, randomness=randomness
    )
    models.save(trained, tokenizer, folder)
    return loss
