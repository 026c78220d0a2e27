"""One round of DPO (40 pairs, 4 epochs, batch 8, 1M parameters): against TRL as it comes, and a
hand-written loop.
"""

import tempfile

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer

from activedpo_lib.method import adapters
from activedpo_lib.method.adapters import adapter_state, set_adapter_state
from activedpo_lib.method.models import word_tokenizer
from activedpo_lib.method.training import dpo
from activedpo_lib.records import Fit, LabelledPair, Prompt, Response
from activedpo_lib.runtime import quiet
from activedpo_lib.streams import stream
from benchmarks.measure import Row, interleaved, ratio
from benchmarks.references import hand_written_dpo
from benchmarks.subjects import LINEARS, llama, sequences

SETTINGS = {"beta": 0.1, "epochs": 4, "learning_rate": 1e-4, "batch_size": 8}


def labelled(count=40):
    """Pairs with prompts of 32 to 64 tokens and responses of 16 to 48."""
    prompts, chosen = sequences(count, (32, 64), (16, 48))
    rejected = [tuple(reversed(tokens)) for tokens in chosen]
    return [
        LabelledPair(
            Prompt(f"p{at}", ""),
            x,
            Response(f"p{at}", (*y, 1), ""),
            Response(f"p{at}", (*z, 1), ""),
            1,
        )
        for at, (x, y, z) in enumerate(zip(prompts, chosen, rejected, strict=True))
    ]


def run():
    """The rows of this benchmark."""
    tokenizer = word_tokenizer([f"w{at}" for at in range(997)])
    pairs, config = labelled(), adapters.lora_config(16, 32, LINEARS)
    # One model each: TRL's settings (checkpointing) stay on a model after its trainer is gone.
    policies = {name: llama("1M") for name in ("ours", "by hand", "defaults")}
    initial = adapter_state(policies["ours"])
    text = [
        {
            "prompt": tokenizer.decode(p.prompt_tokens),
            "chosen": " " + tokenizer.decode(p.chosen.tokens[:-1]),
            "rejected": " " + tokenizer.decode(p.rejected.tokens[:-1]),
        }
        for p in pairs
    ]

    def ours():
        policy = set_adapter_state(policies["ours"], initial)
        fit = Fit(SETTINGS["epochs"], SETTINGS["learning_rate"], SETTINGS["batch_size"], 0.1)
        beta, randomness = SETTINGS["beta"], stream(0)
        policy, _ = dpo(policy, tokenizer, pairs, config, fit, beta, stream=randomness)
        policies["ours"] = policy

    def by_hand():
        hand_written_dpo(set_adapter_state(policies["by hand"], initial).train(), pairs, **SETTINGS)

    def defaults():
        base = policies["defaults"].unload()
        with tempfile.TemporaryDirectory() as folder, quiet():
            arguments = DPOConfig(
                output_dir=folder,
                beta=0.1,
                num_train_epochs=4,
                learning_rate=1e-4,
                per_device_train_batch_size=8,
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
            )
            trainer = DPOTrainer(
                base,
                args=arguments,
                train_dataset=Dataset.from_list(text),
                processing_class=tokenizer,
                peft_config=config,
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        policies["defaults"] = trainer.model
        trainer.model.get_base_model().__dict__.pop("forward", None)

    seconds = interleaved({"ours": ours, "by hand": by_hand, "defaults": defaults}, 3)
    yield Row("ours / TRL's defaults", ratio(seconds, "ours", "defaults"), at_most=0.85)
    yield Row("ours / a hand-written loop", ratio(seconds, "ours", "by hand"), at_most=1.7)
