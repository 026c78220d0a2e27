"""The parameters' types: values frozen, with type, range and unit; D1..D16 are named at theirs."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

MADE_HERE = ("world", "config")  # `model.base`: shipped, or trained here; else one made elsewhere
CeilingName = Literal["", "matching", "largest_gap"]
KNOWING = "full knowledge: "  # how tables call a ceiling


def ranged(
    default: Any,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    above: float | None = None,
) -> Any:
    """A field with its range and unit; `above`: a lower end that is itself left out."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "above": above})


@dataclass(frozen=True)
class TaskParams:
    """Where a task's prompts, demonstrations and comparisons come from."""

    name: str
    source: Literal["world", "files", "tldr", "webgpt"] = "world"  # last two: the hub's datasets
    split: Literal["figures", "tuning"] = "figures"
    sft: str = ""  # D15
    comparisons: str = ""
    prompts: str = ""
    # A folder or hub name of a sequence classifier; "" trains one on the task's comparisons.
    reward_model: str = ""
    prompt_tokens: int = ranged(
        0, 0, unit="tokens, for `make plan` where the data are not at hand; 0 counts words"
    )
    # A JSON list: the numbers of the demonstrations to keep (Fig. 2); "" keeps all.
    sft_subset: str = ""
    pool_subset: str = ""  # the same of the pool's prompts
    most_rows: int = ranged(0, 0, unit="rows used of each of the user's files; 0 takes all")
    sft_rows: int = ranged(1600, 1, unit="rows")
    comparison_rows: int = ranged(
        20000, 2, unit="rows drawn; the world leaves out those with the same text twice, about 1 %"
    )
    held_out_rows: int = ranged(1000, 1, unit="rows of the world's, that no reward model sees")
    prompt_rows: int = ranged(2000, 2, unit="rows")
    damaged: float = ranged(0.2, 0.0, 1.0, "share of damaged responses in the world's comparisons")
    skew: float = ranged(0.0, 0.0, 10.0, "Zipf exponent of the world's pool's details; 0 is even")
    evaluation_skew: float = ranged(0.0, 0.0, 10.0, "the same of its evaluation prompts")
    copies: int = ranged(1, 1, unit="times that a duplicated prompt stands in a round's pool")
    duplicated: float = ranged(1.0, 0.0, 1.0, "share of a round's prompts that are such copies")
    junk: float = ranged(0.0, 0.0, 1.0, "share of the world's pool whose labels are a coin's")
    max_new_tokens: int = ranged(24, 1, unit="tokens")  # D9


@dataclass(frozen=True)
class ModelParams:
    """A policy: a shipped base model ("world"), one trained on the user's text ("config"), a local
    folder, or a hub name.
    """

    name: str
    family: Literal["llama", "gemma"] = "llama"
    base: str = "world"
    hidden_size: int = ranged(96, 8)
    layers: int = ranged(2, 1)
    heads: int = ranged(4, 1)
    key_value_heads: int = ranged(0, 0, unit="heads; 0 takes the family's own rule")
    intermediate_size: int = ranged(0, 0, unit="units; 0 takes 8/3 of hidden_size")
    vocabulary: int = ranged(4000, 64, unit="tokens")
    pretrain_rows: int = ranged(0, 0, unit="rows of the user's text; 0 takes all")
    pretrain_epochs: float = ranged(8.0, 0.0, unit="epochs")
    pretrain_learning_rate: float = ranged(2.0e-3, 0.0, 1.0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    chat: bool = False  # a prompt is the user's turn of the tokenizer's chat template


@dataclass(frozen=True)
class SFTParams:
    """Supervised fine-tuning: Sec. 4, "1 epoch"."""

    epochs: float = ranged(1.0, 0.0, unit="epochs")
    learning_rate: float = ranged(1.0e-3, 0.0, 1.0)
    batch_size: int = ranged(16, 1)
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class OracleParams:
    """The labeller: the task's reward model, the world's true utility (D10), or a person."""

    kind: Literal["reward_model", "utility", "human"] = "reward_model"
    labeller: str = ""  # a person's name, and the SQLite file where the answers are
    answers: str = ""
    ties: Literal["drop", "half"] = "drop"  # not trained on, or a soft label of 1/2
    label: Literal["argmax", "bradley_terry"] = "argmax"  # D10
    flip: float = ranged(0.0, 0.0, 0.5, "probability")  # D10
    # A control: who answers from the second round on; the policy's own margin, the Bayesian
    # reward on phi, or a coin. Only the first round's labels are then the oracle's.
    after_first: Literal["oracle", "policy", "posterior", "coin"] = "oracle"
    epochs: float = ranged(1.0, 0.0, unit="epochs")
    learning_rate: float = ranged(1.0e-3, 0.0, 1.0)
    batch_size: int = ranged(32, 1)


@dataclass(frozen=True)
class LoraParams:
    """The adapter: Sec. 4, "rank of 128 with alpha of 512"; the targets are D6."""

    rank: int = ranged(8, 1)
    alpha: int = ranged(32, 1)
    targets: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    # D12: merged after each round, then a fresh one; the reference stays pi_SFT.
    fresh: bool = False


@dataclass(frozen=True)
class GenerationParams:
    """Sampling of the pool: Sec. 4, 1000 prompts and 3 responses each; D9."""

    prompts: int = ranged(120, 1, unit="prompts per round")
    responses: int = ranged(3, 2, unit="responses per prompt")
    temperature: float = ranged(1.0, 1.0e-3, 10.0)  # D9
    top_k: int = ranged(0, 0, unit="most probable tokens kept; 0 keeps all")  # D9
    top_p: float = ranged(1.0, high=1.0, above=0.0, unit="probability kept")  # D9
    batch_sequences: int = ranged(384, 0, unit="sequences at a time; 0: what fits")
    graphed: bool = False  # a cache of fixed size: on a card, a step is one graph


@dataclass(frozen=True)
class SelectionParams:
    """What a strategy may be told. A strategy's factory takes those that it names."""

    ridge: float = ranged(1.0, above=0.0)  # D2
    ridge_is: Literal["relative", "absolute"] = "relative"  # D2
    past: Literal["reembed", "keep", "none"] = "reembed"  # D3; none: V starts anew each round
    normalise: Literal["response", "pair", "token", "none"] = (
        "response"  # D4; token: the per-token mean's gradient
    )
    projection: Literal[
        "fold", "countsketch", "srht", "kronecker", "rademacher", "gaussian", "none"
    ] = "fold"  # D7
    dimensions: int = ranged(512, 1)
    normalise_when: Literal["after", "before"] = "after"  # D8
    token_budget: int = ranged(4096, 0, unit="tokens of a gradient batch; 0: what fits")
    memory_mib: int = ranged(
        64, 0, unit="MiB; larger features go to a file, from which a stopped pass goes on"
    )
    repeat_prompts: bool = True  # D13
    entropy_samples: int = ranged(0, 0, unit="samples; 0 takes the pool's own responses")
    shortlist: float = ranged(
        0.4, 0.0, 1.0, "share of the round's prompts that APLP's entropy keeps: 8B = 400 of 1000"
    )
    apo_ridge: float = ranged(1.0e-5, above=0.0)
    prior: float = ranged(0.1, above=0.0, unit="precision of the Bayesian reward's weights")
    confidence: float = ranged(1.0, 0.0, unit="standard deviations of upper and lower bounds")
    target_prompts: int = ranged(
        40, 0, unit="evaluation prompts whose pairs EPIG wants to know; their labels stay unseen"
    )
    prompt_entropy: float = ranged(1.0, 0.0, unit="nats of BAL-PM's entropy a nat of information")
    neighbours: int = ranged(5, 1, unit="neighbours of BAL-PM's entropy estimate")


@dataclass(frozen=True)
class DPOParams:
    """DPO of one round: Sec. 4, "4 epochs with the learning rate of 1e-4"; beta is D11."""

    beta: float = ranged(0.1, 1.0e-6)  # D11
    epochs: float = ranged(4.0, 0.0, unit="epochs")
    learning_rate: float = ranged(1.0e-3, 0.0, 1.0)
    batch_size: int = ranged(8, 1, unit="pairs")
    warmup: float = ranged(0.1, 0.0, 1.0, "fraction of the round's steps")
    train_on: Literal["new", "all", "all_from_sft"] = "new"  # D5
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class EvaluationParams:
    """Sec. 4: "multiple responses for 100 number of prompts"; D14."""

    prompts: int = ranged(100, 1, unit="prompts")
    responses: int = ranged(3, 1, unit="responses per prompt")
    comparisons: int = ranged(0, 0, unit="of a replay, held out; 0: as many as responses")
    # A second reward model: "trained" (another seed and family), a folder, or a hub name; "" none.
    evaluator: str = ""


@dataclass(frozen=True)
class Params:
    """One cell of the grid: a task, a model and a strategy, with everything that a run of it
    depends on.
    """

    profile: str
    task: TaskParams
    model: ModelParams
    strategy: str
    # Full knowledge in the strategy's place: it reads the oracle (method/ceilings.py).
    ceiling: CeilingName = ""
    rounds: int = ranged(6, 1, unit="rounds")  # D11
    batch_size: int = ranged(40, 1, unit="labels per round")
    replay: bool = False  # the pool is the task's own comparisons; a label is revealed when picked
    processes: int = ranged(
        1, 1, 64, "processes that share one run; a GPU each where there are several"
    )
    # "last": a run keeps only its newest adapter; older ones are trained again from their labels
    # where a study asks for them. No result depends on it.
    adapters: Literal["all", "last"] = "all"
    sft: SFTParams = SFTParams()
    oracle: OracleParams = OracleParams()
    lora: LoraParams = LoraParams()
    generation: GenerationParams = GenerationParams()
    selection: SelectionParams = SelectionParams()
    dpo: DPOParams = DPOParams()
    evaluation: EvaluationParams = EvaluationParams()

    @property
    def chooser(self) -> str:
        """Who picks, as tables call it: the strategy, or "full knowledge" and which."""
        return f"{KNOWING}{self.ceiling}" if self.ceiling else self.strategy

    def digest(self, *parts: str) -> str:
        """The SHA-256 of the values that a result depends on (of `parts` alone), 12 hex digits."""
        values = dataclasses.asdict(self)
        if not self.generation.graphed:  # runs from before this value was there keep their name
            del values["generation"]["graphed"]
        chosen = {
            name: value
            for name, value in values.items()
            if (name in parts if parts else name not in ("profile", "adapters"))
        }
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Grid:
    """The cells that a profile's figures need."""

    tasks: tuple[str, ...]
    models: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs_per_gpu: int = 1
    gpu: bool = False
