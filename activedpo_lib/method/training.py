"""SFT, the reward model and DPO, each a thin call of TRL. Rows go in as token ids: what was scored
is trained on.
"""

import math
import tempfile

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from activedpo_lib.method.models import (
    adapter_state,
    encode_pair,
    encode_prompt,
    encode_response,
    set_adapter_state,
    sft_weights,
)
from activedpo_lib.runtime import quiet
from activedpo_lib.shards import shards

EXPLODED = (
    1000.0  # nats; an untrained model's loss is ln(vocabulary), below 13, and DPO's starts at ln 2
)


class TrainingDiverged(RuntimeError):
    """A loss became NaN or infinite, or exploded."""


def _arguments(folder, stream, epochs, learning_rate, batch_size, **more):
    """What every trainer shares. TRL's own defaults (bf16, checkpointing, saving) cost 1.4x on a
    CPU.
    """
    return {
        "output_dir": folder,
        "seed": stream.seed,
        "num_train_epochs": epochs,
        "learning_rate": learning_rate,
        "per_device_train_batch_size": batch_size // shards().count,
        "max_length": None,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    } | more


def _train(trainer, what):
    trainer.remove_callback(PrinterCallback)
    losses = shards().collect([trainer.train().training_loss])
    loss = sum(losses) / len(losses)
    if not loss < EXPLODED:  # also where it is NaN
        raise TrainingDiverged(f"{what}: the loss became {loss}; lower the learning rate")
    return loss


def sft(
    model, tokenizer, rows, epochs, learning_rate, batch_size, stream, gradient_checkpointing=False
):
    """Supervised fine-tuning on the completions of rows {prompt, completion}. Returns (model, mean
    loss in nats).
    """
    examples = []
    for row in rows:
        prompt, response = (
            encode_prompt(tokenizer, row["prompt"]),
            encode_response(tokenizer, row["completion"]),
        )
        examples.append(
            {"input_ids": prompt + response, "labels": (-100,) * len(prompt) + response}
        )
    with quiet(), tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            **_arguments(
                folder,
                stream,
                epochs,
                learning_rate,
                batch_size,
                gradient_checkpointing=gradient_checkpointing,
            ),
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
        )
        data = Dataset.from_list(examples)
        trainer = SFTTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
        loss = _train(trainer, "SFT")
    return model.eval(), loss


def reward_model(model, tokenizer, comparisons, epochs, learning_rate, batch_size, stream):
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
            **_arguments(folder, stream, epochs, learning_rate, batch_size),
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            # Comparisons leave each prompt's level open; this pulls it to zero, so that rewards of
            # prompts compare.
            center_rewards_coefficient=0.01,
        )
        data = Dataset.from_list(examples)
        trainer = RewardTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
        loss = _train(trainer, "the reward model")
    return model.eval(), loss


class TokenDPOTrainer(DPOTrainer):
    """TRL's DPO on rows that are token ids already: no decode and encode between scoring and
    training.
    """

    def _prepare_dataset(self, dataset, *_):
        return dataset


def _shared(examples, folder):
    """The examples as a Dataset; for several processes one in the first one's folder, where TRL
    keeps the reference's logps.
    """
    data, group = Dataset.from_list(examples), shards()
    if group.count == 1:
        return data
    place = f"{group.collect([folder])[0]}/examples"
    if group.rank == 0:
        data.save_to_disk(place)
    group.collect([])
    return Dataset.load_from_disk(place)


def dpo_trainer(
    policy,
    tokenizer,
    labelled,
    config,
    stream,
    folder,
    beta,
    epochs,
    learning_rate,
    batch_size,
    warmup,
    gradient_checkpointing=False,
):
    """A trainer that carries the policy's adapter on, with pi_SFT as its reference. `policy` is
    taken apart: use the trainer's.

    A PeftModel given to TRL as it is would be compared with a *copy of its current adapter*,
    pi_{t-1} (loading.md, the reference trap). The plain base and `config` make TRL take the
    adapter-off model, pi_SFT, instead.
    """
    state, base = adapter_state(policy), policy.unload()
    examples = [
        {
            "prompt_ids": pair.prompt_tokens,
            "chosen_ids": pair.chosen.tokens,
            "rejected_ids": pair.rejected.tokens,
        }
        for pair in labelled
    ]
    shared = _arguments(
        folder,
        stream,
        epochs,
        learning_rate,
        batch_size,
        gradient_checkpointing=gradient_checkpointing,
    )
    arguments = DPOConfig(
        **shared,
        beta=beta,
        warmup_steps=warmup,
        lr_scheduler_type="linear",
        precompute_ref_log_probs=True,
    )
    with sft_weights(base):  # the reference's log-probabilities are computed as the trainer is made
        trainer = TokenDPOTrainer(
            base,
            args=arguments,
            train_dataset=_shared(examples, folder),
            processing_class=tokenizer,
            peft_config=config,
        )
    set_adapter_state(trainer.model, state)
    return trainer


def dpo(policy, tokenizer, labelled, config, stream, **settings):
    """Update the policy on `labelled` with the DPO objective (Eq. 2; Alg. 1 l. 11). Returns
    (policy, mean loss in nats).
    """
    if not labelled:
        return policy, math.nan
    with quiet(), tempfile.TemporaryDirectory() as folder:
        trainer = dpo_trainer(policy, tokenizer, labelled, config, stream, folder, **settings)
        loss = _train(trainer, "DPO")
    base = trainer.model.get_base_model()
    base.__dict__.pop(
        "forward", None
    )  # TRL's patched forward would wrap itself anew in every round
    return trainer.model.eval(), loss
