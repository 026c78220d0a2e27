"""Which parameters can go together: values that are each in range may still contradict each other,
and that is an error before any work, with the remedy.
"""

from typing import get_args

from activedpo_lib.schema import MADE_HERE, CeilingName, Params
from activedpo_lib.typed import ParamsError


def possible(params: Params) -> Params:
    """`params`, or ParamsError where values that are each in range cannot go together."""
    generation, selection = params.generation, params.selection
    pairs = generation.prompts * generation.responses * (generation.responses - 1) // 2
    if params.replay and params.batch_size > generation.prompts:
        raise ParamsError(
            f"batch_size {params.batch_size} is more than a round's pool of {generation.prompts} "
            "comparisons; lower batch_size "
            "or raise generation.prompts"
        )
    if params.batch_size > pairs:
        raise ParamsError(
            f"batch_size {params.batch_size} is more than a round's pool: {generation.prompts} "
            "prompts with "
            f"{generation.responses} responses each make {pairs} pairs; lower batch_size or raise "
            "generation.prompts"
        )
    if selection.normalise == "pair" and selection.normalise_when == "before":
        raise ParamsError(
            "selection.normalise pair with normalise_when before is impossible: the pair's exact "
            "norm is not known after "
            "the projection; use normalise_when after, or projection none"
        )
    if generation.graphed and generation.batch_sequences < generation.responses:
        raise ParamsError(
            f"generation.graphed with batch_sequences {generation.batch_sequences} is impossible: "
            "a graph has one size of batch, which nothing finds for it; set batch_sequences to a "
            f"number of at least {generation.responses} (responses)"
        )
    _knowing(params)
    _asked_of(params)
    _answered(params)
    _pool_is_possible(params)
    _shareable(params)
    _policies_come_back(params)
    _model_is_possible(params)
    return params


def _model_is_possible(params: Params) -> None:
    """A small model has a whole number of units a head, and no chat template."""
    model = params.model
    if model.hidden_size % model.heads:
        raise ParamsError(
            f"model.hidden_size {model.hidden_size} must be a multiple of heads {model.heads}"
        )
    if model.chat and model.base in MADE_HERE:
        raise ParamsError(
            f"model.chat with model.base {model.base} is impossible: the models made here have no "
            "chat template; set model.chat to false, or name a model of the hub"
        )


def _pool_is_possible(params: Params) -> None:
    """Pools of Fig. 12: only the world knows its details and which of its prompts are junk, and a
    human's comparison stands there once.
    """
    task, prompts = params.task, params.generation.prompts
    if task.source == "world" and prompts > task.prompt_rows:
        raise ParamsError(
            f"generation.prompts {prompts} is more than task.prompt_rows {task.prompt_rows}"
        )
    for key in ("skew", "evaluation_skew", "junk"):
        if task.source != "world" and getattr(task, key):
            raise ParamsError(
                f"task.{key} {getattr(task, key)} is of the built-in world alone, and task.source "
                f"is {task.source}: real text has its own; set task.{key} to 0"
            )
    for key, usual in (("copies", 1), ("junk", 0.0)):
        if params.replay and getattr(task, key) != usual:
            raise ParamsError(
                f"task.{key} {getattr(task, key)} with replay is impossible: its pool is "
                f"comparisons that humans answered, each once; set task.{key} to {usual:g}"
            )


def _policies_come_back(params: Params) -> None:
    """What a saved run must give back: its policies, to go on from and to look into."""
    if params.lora.fresh and params.dpo.train_on == "all_from_sft":
        raise ParamsError(
            "lora.fresh with dpo.train_on all_from_sft is impossible: the one folds each round's "
            "adapter into the policy (D12), the other starts from pi_SFT each round (D5); drop one"
        )
    if params.adapters == "last" and params.processes > 1:
        raise ParamsError(
            "adapters last with several processes is impossible: what is trained again by one "
            "process is not the same to the last digit; use adapters all, or processes 1"
        )


def _knowing(params: Params) -> None:
    """What a ceiling or a control asks for must be there."""
    if params.strategy and params.strategy in get_args(CeilingName):
        raise ParamsError(
            f"{params.strategy} is no strategy: it reads the oracle's rewards before it picks; it "
            f"runs as `ceiling: {params.strategy}`, with the strategy random (notebook 07)"
        )
    if params.ceiling and params.strategy != "random":
        raise ParamsError(
            f"ceiling {params.ceiling} picks in the strategy's place, so the strategy must be "
            f"random, got {params.strategy}"
        )
    if params.ceiling and params.processes > 1:
        raise ParamsError(f"ceiling {params.ceiling} runs in one process: set processes to 1")
    if params.replay and params.oracle.after_first != "oracle":
        raise ParamsError(
            f"oracle.after_first {params.oracle.after_first} with replay is impossible: there, "
            "humans have answered; use oracle"
        )
    if params.oracle.after_first == "posterior":
        if params.processes > 1:
            raise ParamsError(
                "oracle.after_first posterior runs in one process: set processes to 1"
            )
        if params.selection.past == "none":
            raise ParamsError(
                "oracle.after_first posterior with selection.past none is impossible: it learns "
                "from the labelled pairs; use reembed or keep"
            )


def _asked_of(params: Params) -> None:
    """What is asked of held-out prompts or of the truth needs them: later, models are trained."""
    if params.strategy == "epig" and not params.selection.target_prompts:
        raise ParamsError(
            "selection.target_prompts must be at least 1 prompts for the strategy epig, got 0: it "
            "asks what a label tells of held-out prompts; set it to 1 or more, or take bald, which "
            "needs none"
        )
    source = params.task.source
    if params.oracle.kind == "utility" and source != "world" and not params.replay:
        raise ParamsError(
            f"oracle.kind utility needs a known truth, and task.source {source} is real text, "
            "which has none; set oracle.kind to reward_model"
        )


def _shareable(params: Params) -> None:
    """Each of several processes takes a share of the prompts."""
    prompts = params.generation.prompts, params.evaluation.prompts
    if min(prompts) < params.processes:
        raise ParamsError(
            f"processes is {params.processes}, but generation.prompts and evaluation.prompts are "
            f"{prompts[0]} and {prompts[1]}: each process takes a share of both; lower processes "
            "or raise them"
        )


def _answered(params: Params) -> None:
    """A person who labels needs a name and a file."""
    how = params.oracle
    if how.kind != "human":
        return
    if not how.answers or not how.labeller:
        raise ParamsError(
            "oracle.kind human needs oracle.labeller, your name, and oracle.answers, the file "
            f"where your labels go, as my_labels.sqlite; got {how.labeller!r} and {how.answers!r}"
        )
    for key, there in (
        ("replay", params.replay),
        ("ceiling", bool(params.ceiling)),
        ("processes above 1", params.processes > 1),
        ("oracle.after_first", how.after_first != "oracle"),
    ):
        if there:
            raise ParamsError(f"oracle.kind human with {key} is impossible: leave one out")
