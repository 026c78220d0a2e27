"""SFT, the reward model and DPO, each a thin call of TRL. Rows go in as token ids: what was scored
is trained on.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from peft import LoraConfig, PeftModel
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from activedpo_lib.memory import StepsThatFit
from activedpo_lib.method.adapters import adapter_state, set_adapter_state
from activedpo_lib.method.logps import reference_logps
from activedpo_lib.method.models import encode_pair, encode_prompt, encode_response
from activedpo_lib.records import Comparison, Fit, LabelledPair
from activedpo_lib.runtime import quiet
from activedpo_lib.shards import processes, share_of_step
from activedpo_lib.streams import Stream

# nats; an untrained model's loss is ln(vocabulary), below 13, and DPO's starts at ln 2
EXPLODED = 1000.0
# Comparisons leave each prompt's level open; this pulls it to zero, so that rewards of prompts
# compare.
CENTRED = 0.01


class TrainingDiverged(RuntimeError):
    """A loss became NaN or infinite, or exploded."""


def _arguments(folder: str, fit: Fit, *, stream: Stream) -> dict[str, Any]:
    """What every trainer shares. TRL's own defaults (bf16, checkpointing, saving) cost 1.4x on a
    CPU.
    """
    return {
        "output_dir": folder,
        "seed": stream.seed,
        "num_train_epochs": fit.epochs,
        "learning_rate": fit.learning_rate,
        "per_device_train_batch_size": fit.batch_size,
        "warmup_steps": fit.warmup,
        "max_length": None,
        "bf16": False,
        "gradient_checkpointing": fit.gradient_checkpointing,
        "save_strategy": "no",
        "report_to": "none",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def _train(trainer: Any, what: str) -> float:
    trainer.remove_callback(PrinterCallback)
    try:
        loss = trainer.train().training_loss
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"{what}: a step of {trainer.args.per_device_train_batch_size} examples, in "
            f"{getattr(trainer, 'parts', 1)} parts, does not fit in the card's free memory: "
            f"{error}; set gradient_checkpointing to true, which leaves the results as they are, "
            "take a larger card, or lower batch_size, which moves them"
        ) from error
    if not loss < EXPLODED:  # also where it is NaN
        raise TrainingDiverged(f"{what}: the loss became {loss}; lower the learning rate")
    return loss


def sft(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Iterable[Mapping[str, str]],
    fit: Fit,
    *,
    stream: Stream,
) -> tuple[PreTrainedModel, float]:
    """Supervised fine-tuning on the completions of rows {prompt, completion}. Returns (model, mean
    loss in nats).
    """
    examples = []
    for row in rows:
        prompt = encode_prompt(tokenizer, row["prompt"])
        response = encode_response(tokenizer, row["completion"])
        labels = (-100,) * len(prompt) + response
        examples.append({"input_ids": prompt + response, "labels": labels})
    with quiet(), tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(**_arguments(folder, fit, stream=stream), lr_scheduler_type="cosine")
        data = Dataset.from_list(examples)
        trainer = SFTTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
        loss = _train(trainer, "SFT")
    return model.eval(), loss


def reward_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    comparisons: Iterable[Comparison],
    fit: Fit,
    *,
    stream: Stream,
) -> tuple[PreTrainedModel, float]:
    """Train r on human comparisons: -log sigma(r_w - r_l) (Eq. 1). Returns (model, mean loss in
    nats).
    """
    examples = [
        {
            "chosen_ids": encode_pair(tokenizer, row.prompt, row.chosen),
            "rejected_ids": encode_pair(tokenizer, row.prompt, row.rejected),
        }
        for row in comparisons
    ]
    with quiet(), tempfile.TemporaryDirectory() as folder:
        config = RewardConfig(
            **_arguments(folder, fit, stream=stream),
            lr_scheduler_type="cosine",
            center_rewards_coefficient=CENTRED,
        )
        data = Dataset.from_list(examples)
        trainer = RewardTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
        loss = _train(trainer, "the reward model")
    return model.eval(), loss


class TokenDPOTrainer(StepsThatFit, DPOTrainer):
    """TRL's DPO on rows that are token ids with the reference's log-probabilities beside them: no
    decode and encode between scoring and training, and the reference is read once.
    """

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def get_train_dataloader(self) -> DataLoader:
        """The pairs of every step, to every process: `share_of_step` deals them out. Accelerate
        would fill up a step that does not divide with pairs of the first, and results would move.
        """
        loader = super().get_train_dataloader()
        shard: Any = loader.batch_sampler
        if isinstance(shard, BatchSamplerShard):  # there are several processes
            shard.num_processes, shard.process_index, shard.even_batches = 1, 0, False
        return loader


def with_soft_ties(
    labelled: Sequence[LabelledPair], fit: Fit
) -> tuple[Sequence[LabelledPair], Fit]:
    """Pairs and Fit whose mean loss over an epoch is that of soft labels, a tie's being 1/2: every
    pair stands twice, a tie once each way round, and there are half as many epochs.
    """
    if not any(pair.tie for pair in labelled):
        return labelled, fit
    turned = [
        dataclasses.replace(pair, chosen=pair.rejected, rejected=pair.chosen) if pair.tie else pair
        for pair in labelled
    ]
    return [*labelled, *turned], fit._replace(epochs=fit.epochs / 2)


def preference_rows(
    policy: PeftModel, labelled: Sequence[LabelledPair], budget: int = 4096
) -> list[dict[str, Any]]:
    """The labelled pairs as TRL's rows of token ids, with log pi_ref of both responses in nats: the
    reference is pi_SFT, whatever adapters were folded into the policy's base (D12).
    """
    prompts = [pair.prompt_tokens for pair in labelled]
    chosen = reference_logps(policy, prompts, [pair.chosen.tokens for pair in labelled], budget)
    rejected = reference_logps(policy, prompts, [pair.rejected.tokens for pair in labelled], budget)
    return [
        {
            "prompt_ids": pair.prompt_tokens,
            "chosen_ids": pair.chosen.tokens,
            "rejected_ids": pair.rejected.tokens,
            "ref_chosen_logps": float(above),
            "ref_rejected_logps": float(below),
        }
        for pair, above, below in zip(labelled, chosen, rejected, strict=True)
    ]


def dpo_trainer(
    policy: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    labelled: Sequence[LabelledPair],
    config: LoraConfig,
    arguments: DPOConfig,
    token_budget: int = 4096,
) -> TokenDPOTrainer:
    """A trainer that carries the policy's adapter on, with pi_SFT as its reference. `policy` is
    taken apart: use the trainer's.

    A PeftModel given to TRL as it is would be compared with a *copy of its current adapter*,
    pi_{t-1}. Here TRL gets the plain base, `config`, and the reference's log-probabilities.
    """
    rows = preference_rows(policy, labelled, token_budget)
    state, base = adapter_state(policy), policy.unload()
    trainer = TokenDPOTrainer(
        base,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=config,
    )
    # TRL reads the rows' reference, and does not hash the model for a cache of its own.
    trainer.precompute_ref_logps = True
    collate, shared = trainer.data_collator, processes()
    trainer.data_collator = lambda pairs: collate(share_of_step(pairs, shared))
    trained: Any = trainer.model
    set_adapter_state(trained, state)
    return trainer


def dpo(
    policy: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    labelled: Sequence[LabelledPair],
    config: LoraConfig,
    fit: Fit,
    beta: float,
    *,
    stream: Stream,
) -> tuple[PeftModel, float]:
    """Update the policy on `labelled` with the DPO objective (Eq. 2; Alg. 1 l. 11): -log sigma of
    beta times the gap of log-ratios (D11). Returns (policy, mean loss in nats); of several
    processes each returns the loss of its own examples. Raises TrainingDiverged.
    """
    if not labelled:
        return policy, math.nan
    labelled, fit = with_soft_ties(labelled, fit)
    with quiet(), tempfile.TemporaryDirectory() as folder:
        arguments = DPOConfig(
            **_arguments(folder, fit, stream=stream),
            beta=beta,
            lr_scheduler_type="linear",
        )
        trainer = dpo_trainer(policy, tokenizer, labelled, config, arguments, fit.token_budget)
        loss = _train(trainer, "DPO")
    trained: Any = trainer.model
    base = trained.get_base_model()
    base.__dict__.pop("forward", None)  # TRL's patched forward would wrap itself anew every round
    return trained.eval(), loss
