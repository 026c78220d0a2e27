"""What a whole run costs by the cost model of `costs`: its parts, and what is trained once for many
runs.

All in floating point operations (FLOP). A trained weight costs a token six operations: two forward,
four backward.
"""

from typing import Any

from activedpo_lib.schema import ModelParams, Params, TaskParams
from activedpo_lib.store import HOME, locate, read_json
from activedpo_lib.study.costs import Sizes, round_flops
from activedpo_lib.tasks import load_task

# A plan reads no data and no weights of the hub: these stand for them, and the plan says so.
HUB_ROWS = {"trl-lib/tldr": 116_722, "openai/webgpt_comparisons": 19_578}
JUDGE_WEIGHTS = 3.0e8  # of a named reward model: deberta-v3-large's 24 layers (footnote 2)


def sizes(params: Params) -> Sizes:
    """The cost model's Sizes for these params, from the model's config and the task's prompts
    (words, not yet tokens).

    Where a model or data of the hub are not at hand, from what the profile says of them.
    """
    shapes, width, vocabulary = _shapes(params.model)
    layers = _layers(params.model)
    adapter = sum(
        params.lora.rank * sum(shapes[name]) for name in params.lora.targets if name in shapes
    )
    return Sizes(
        weights=layers * sum(a * b for a, b in shapes.values()),
        head=vocabulary * width,
        adapter=layers * adapter,
        prompt=params.task.prompt_tokens or _mean_words(params),
        response=params.task.max_new_tokens,
    )


def _config(model: ModelParams) -> dict[str, Any]:
    """The model's config.json where there is one on this machine."""
    shipped = HOME / "activedpo_lib/assets" / f"{model.family}-0"
    folder = shipped if model.base == "world" else locate(model.base)
    return read_json(folder / "config.json") if (folder / "config.json").is_file() else {}


def _layers(model: ModelParams) -> int:
    return _config(model).get("num_hidden_layers", model.layers)


def _shapes(model: ModelParams) -> tuple[dict[str, tuple[int, int]], int, int]:
    """({module: (inputs, outputs)} of one layer, width, vocabulary)."""
    config = _config(model)
    width, heads = (
        config.get("hidden_size", model.hidden_size),
        config.get("num_attention_heads", model.heads),
    )
    inner = config.get("intermediate_size", model.intermediate_size or 8 * width // 3)
    queries = heads * config.get("head_dim", width // heads)
    groups = config.get("num_key_value_heads", model.key_value_heads or heads)
    values = queries // heads * groups
    shapes = {
        "q_proj": (width, queries),
        "k_proj": (width, values),
        "v_proj": (width, values),
        "o_proj": (queries, width),
    }
    shapes |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), (width, inner))
    return shapes, width, config.get("vocab_size", model.vocabulary)


def _mean_words(params: Params) -> float:
    task = load_task(params.task, params.evaluation.prompts, comparisons=False)
    return sum(len(p.text.split()) for p in task.prompts[:200]) / len(task.prompts[:200])


def rows(params: Params) -> tuple[int, int]:
    """(demonstrations, comparisons) that the task has, at most; of the hub's what `assumptions`
    says, 0 of a dataset whose rows are not known.
    """
    task = params.task
    if task.source == "world":
        return task.sft_rows, task.comparison_rows
    if task.source == "files":
        found = load_task(task, params.evaluation.prompts)
        return len(found.sft), len(found.comparisons)
    # WebGPT's SFT reads the preferred answers (D15)
    return _hub_rows(task, task.sft or task.comparisons), _hub_rows(task, task.comparisons)


def _hub_rows(task: TaskParams, name: str) -> int:
    """Rows of a dataset of the hub that the task uses, at most; where they are not known,
    `most_rows`.
    """
    if not name:
        return 0
    known = HUB_ROWS.get(name, task.most_rows)
    return min(known, task.most_rows or known)


def assumptions(params: Params) -> list[str]:
    """What a plan of these params takes for granted about data and weights that it does not read:
    a text each.
    """
    task, found = params.task, []
    for name in filter(None, (task.sft, task.comparisons)):
        if task.source in ("tldr", "webgpt"):
            count = _hub_rows(task, name)
            unknown = f"no rows of {name}, whose number is not known (task.most_rows gives it)"
            found.append(f"{count:,} rows of {name}" if count else unknown)
    if task.reward_model:
        found.append(f"{JUDGE_WEIGHTS:.0e} weights of {task.reward_model}".replace("e+0", "e"))
    return found


def flops_by_part(params: Params, size: Sizes) -> dict[str, list[float]]:
    """{part: [FLOP of each round]} of one run, by the cost model: generate, measure, train,
    evaluate.
    """
    from activedpo_lib.method.strategies import (
        make_strategy,  # brings torch along, which status does not need
    )

    pool, evaluation, selection = params.generation, params.evaluation, params.selection
    again = params.batch_size if selection.past == "reembed" else 0
    needs = make_strategy(params.strategy, vars(selection)).needs
    parts = {"generate": [], "measure": [], "train": [], "evaluate": []}
    for t in range(params.rounds):
        generated, measured = round_flops(
            size, needs, pool.prompts, pool.responses, t * again, selection.entropy_samples,
            min(selection.target_prompts, evaluation.prompts),
        )  # fmt: skip
        batches = 1 if params.dpo.train_on == "new" else t + 1  # D5
        parts["generate"].append(0.0 if params.replay else generated)
        parts["measure"].append(measured)
        parts["train"].append(batches * params.batch_size * size.dpo(params.dpo.epochs))
        parts["evaluate"].append(evaluation.prompts * size.generation(evaluation.responses))
    return parts


def training_flops(size: Sizes, texts: float, epochs: float) -> float:
    """Training all weights on so many texts of a prompt and a response each."""
    tokens = size.prompt + size.response
    return 6 * epochs * texts * (size.weights * tokens + size.head * size.response)


def sft_flops(params: Params, size: Sizes) -> float:
    """Supervised fine-tuning of one pi_SFT."""
    return training_flops(size, rows(params)[0], params.sft.epochs)


def pretrain_flops(params: Params, size: Sizes) -> float:
    """Pre-training one small base on the user's text; 0 where the base is there."""
    if params.model.base != "config":
        return 0.0
    demonstrations, comparisons = rows(params)
    texts = demonstrations + 2 * comparisons
    texts = min(texts, params.model.pretrain_rows or texts)
    return training_flops(size, texts, params.model.pretrain_epochs)


def oracle_training_flops(params: Params, size: Sizes) -> float:
    """Training the task's reward model on both texts of every comparison; 0 where one is named, or
    the true utility labels.
    """
    if params.task.reward_model or params.oracle.kind == "utility":
        return 0.0
    headless = Sizes(size.weights, 0.0, 0.0, size.prompt, size.response)
    return training_flops(headless, 2 * rows(params)[1], params.oracle.epochs)


def scoring_flops(params: Params, size: Sizes) -> float:
    """The oracle's passes over one run: two a label, one an evaluated response, in every round."""
    if params.replay or params.oracle.kind == "utility":
        return 0.0
    weights = JUDGE_WEIGHTS if params.task.reward_model else size.weights
    evaluated = params.evaluation.prompts * params.evaluation.responses
    texts = params.rounds * 2 * params.batch_size + (params.rounds + 1) * evaluated
    return texts * 2 * weights * (size.prompt + size.response)
