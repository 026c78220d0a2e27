"""The reward model: a causal backbone with a head that sees every position."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from activedpo_lib.runtime import device, quiet, seeded
from activedpo_lib.streams import Stream
from activedpo_lib.supported import read_config


class PooledRewardConfig(PretrainedConfig):
    """A reward model's backbone, as the dict of its own config."""

    model_type: ClassVar[str] = "pooled_reward"

    def __init__(self, backbone: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.backbone = backbone or {}
        one_logit: dict[str, Any] = {"num_labels": 1, **kwargs}
        super().__init__(**one_logit)


class PooledRewardModel(PreTrainedModel):
    """r(x, y): (b,) from a causal backbone and a head that sees every position (mean and maximum
    over positions).

    A head on the last token alone learned next to nothing at this size.
    """

    config: PooledRewardConfig
    config_class = PooledRewardConfig
    base_model_prefix = "model"

    def __init__(self, config: PooledRewardConfig) -> None:
        super().__init__(config)
        backbone = dict(config.backbone)
        self.model = AutoModel.from_config(
            AutoConfig.for_model(backbone.pop("model_type"), **backbone)
        )
        width = self.model.config.hidden_size
        self.position = nn.Linear(width, width)
        self.pooled = nn.Linear(3 * width, 2 * width)
        self.score = nn.Linear(2 * width, 1)
        self.post_init()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any
    ) -> SequenceClassifierOutput:
        hidden = self.model(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        seen = torch.tanh(self.position(hidden))
        mask = attention_mask.unsqueeze(-1).to(seen.dtype)
        mean = (seen * mask).sum(1) / mask.sum(1)
        maximum = seen.masked_fill(mask == 0, -1.0).amax(1)
        last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(1)
        end = hidden[torch.arange(len(last), device=last.device), last]
        features = nn.functional.gelu(self.pooled(torch.cat([mean, maximum, end], -1)))
        return SequenceClassifierOutput(logits=self.score(features))


def new_reward_model(base: PreTrainedModel, *, stream: Stream) -> PooledRewardModel:
    """A reward model on the backbone of the causal LM `base`, its head freshly initialised."""
    config = PooledRewardConfig(
        backbone=base.config.to_dict(), pad_token_id=base.config.pad_token_id
    )
    with seeded(stream=stream):
        model = PooledRewardModel(config)
    model.model.load_state_dict(base.get_decoder().state_dict())
    return model


def is_own(folder: Path | str) -> bool:
    """Whether the folder holds a reward model of this project."""
    return read_config(folder).get("model_type") == PooledRewardConfig.model_type


def load_classifier(folder: Path | str) -> PreTrainedModel:
    """A sequence classifier with one logit, as reward-model-deberta-v3-large has (footnote 2)."""
    config = read_config(folder, "model.safetensors")
    found = (config.get("architectures") or ["of no architecture"])[0]
    labels = config.get("num_labels", len(config.get("id2label") or {0: "", 1: ""}))
    if not found.endswith("ForSequenceClassification") or labels != 1:
        raise ValueError(
            f"{folder} cannot be a reward model: it is {found} with {labels} labels; a sequence "
            "classifier with one is needed"
        )
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    return model.to(device()).eval()


def load_reward_model(folder: Path | str) -> PooledRewardModel:
    """A reward model saved by this project."""
    kind = read_config(folder, "model.safetensors").get("model_type")
    if kind != PooledRewardConfig.model_type:
        raise ValueError(
            f"{folder} is not a reward model of this project: its model_type is {kind!r}"
        )
    with quiet():
        model: Any = PooledRewardModel.from_pretrained(folder, local_files_only=True)
    return model.to(device()).eval()
