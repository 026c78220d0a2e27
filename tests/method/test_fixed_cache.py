"""A cache of fixed size gives the tokens of the one that grows, eagerly and as one traced graph."""

import dataclasses
import gc
import hashlib
import json
import weakref

import pytest
import torch
from test_at_size import living, tensors
from test_families import FAMILIES
from transformers import AutoModelForCausalLM, StaticCache

from activedpo_lib.method import adapters, generation, models
from activedpo_lib.method.decoding import fixed
from activedpo_lib.method.decoding.growing import step
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.records import Sampling
from activedpo_lib.runs.pretrained import check_base
from activedpo_lib.store import HOME
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task

STEPS, COPIES = 20, 3
TARGETS = ["q_proj", "v_proj", "down_proj"]
WHOLE = [name for name in FAMILIES if name not in ("gemma 3", "mistral")]


def adapted(base):
    """The base with an adapter that has learned something."""
    config = adapters.lora_config(4, 16, TARGETS[:2])
    policy = adapters.with_adapter(base, config, stream=stream(0, "adapter"))
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape)
    return policy.eval()


def asked(count=8):
    """Random prompts of several lengths, and uniforms that end responses at several tokens."""
    rng = stream(0, "fixed").numpy()
    prompts = [tuple(map(int, rng.integers(3, 338, rng.integers(2, 15)))) for _ in range(count)]
    noise = [rng.uniform(0.02, 1, (COPIES, STEPS)) for _ in prompts]
    for each in noise[1:]:  # token 0 ends, and a uniform of 0 draws it; the first is never ended
        for uniforms in each:
            uniforms[rng.integers(1, STEPS)] = 0.0
    return prompts, noise


def both(model, prompts, noise, sampling, end):
    return [
        generation.sample(model, prompts, noise, sampling._replace(graphed=graphed), [end])
        for graphed in (False, True)
    ]


@pytest.mark.parametrize("sequences", [384, 9])
@pytest.mark.parametrize("family", WHOLE)
def test_the_tokens_are_those_of_the_growing_cache(family, sequences):
    torch.manual_seed(0)
    model = adapted(AutoModelForCausalLM.from_config(FAMILIES[family]).float())
    growing, graphed = both(model, *asked(), Sampling(COPIES, STEPS, batch_sequences=sequences), 0)
    assert growing == graphed
    lengths = {len(tokens) for group in growing for tokens in group}
    assert len(lengths) > 5
    assert max(lengths) == STEPS


@pytest.mark.parametrize("how", [{"temperature": 0.7}, {"top_k": 7, "top_p": 0.9}], ids=str)
@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_shipped_models_write_the_same(family, how):
    folder = HOME / "activedpo_lib/assets" / f"{family}-0"
    model, tokenizer = models.load_policy(folder), models.load_tokenizer(folder)
    task = load_task(load_params("tiny", "webgpt").task, 10, comparisons=False)
    encoded = [models.encode_prompt(tokenizer, prompt.text) for prompt in task.prompts[:8]]
    noise = [stream(0, at).numpy().random((COPIES, STEPS)) for at in range(8)]
    growing, graphed = both(
        model, encoded, noise, Sampling(COPIES, STEPS, **how), tokenizer.eos_token_id
    )
    assert growing == graphed


@pytest.fixture
def traced(monkeypatch):
    """Steps traced whole, as for a card, by the tracer's own backend: it runs the same kernels, so
    tokens are equal, not nearly. Yields the rows of each step.
    """
    step_as_graph, seen = fixed.graphed(step, "eager"), []

    def watched(*given):
        seen.append(len(given[1]))
        return step_as_graph(*given)

    monkeypatch.setattr(fixed, "_stepper", lambda tokens: watched)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return seen


def graphs():
    counted = torch._dynamo.utils.counters
    assert not counted["graph_break"]
    return counted["stats"]["unique_graphs"]


def test_batches_of_one_pass_are_one_graph_whose_tokens_are_the_same(traced):
    torch.manual_seed(0)
    model = adapted(AutoModelForCausalLM.from_config(FAMILIES["llama 3"]).float())
    prompts, noise = asked()
    how = Sampling(COPIES, STEPS, batch_sequences=15)  # of 8 prompts: 5, then 3, filled up to 5
    truth = generation.sample(model, prompts, noise, how, [0])
    assert generation.sample(model, prompts, noise, how._replace(graphed=True), [0]) == truth
    assert set(traced) == {15}
    assert graphs() == 1  # not one a token, not one a batch


def test_more_shapes_than_the_tracer_takes_of_itself(traced):
    """Nine sizes of batch, one more than its own limit, and each gives its tokens."""
    torch.manual_seed(0)
    model = adapted(AutoModelForCausalLM.from_config(FAMILIES["llama 3"]).float())
    prompts, noise = asked(9)
    for count in range(1, 10):
        given = (prompts[:count], noise[:count])
        how = Sampling(COPIES, STEPS, batch_sequences=COPIES * count)
        truth = generation.sample(model, *given, how, [0])
        assert generation.sample(model, *given, how._replace(graphed=True), [0]) == truth
    assert graphs() == 9 > torch._dynamo.config.recompile_limit


def test_a_small_rest_is_filled_to_a_part_of_the_usual_size(traced):
    torch.manual_seed(0)
    model = adapted(AutoModelForCausalLM.from_config(FAMILIES["llama 3"]).float())
    prompts, noise = asked(9)
    how = Sampling(COPIES, STEPS, batch_sequences=8 * COPIES)  # 8 prompts, then 1
    truth = generation.sample(model, prompts, noise, how, [0])
    assert generation.sample(model, prompts, noise, how._replace(graphed=True), [0]) == truth
    assert set(traced) == {24, 3}


def test_a_graph_is_made_where_there_is_a_card():
    assert fixed._stepper(torch.zeros(3)) is step

    class OnACard:
        is_cuda = True

    assert fixed._stepper(OnACard()) is not step


@pytest.mark.parametrize("family", ["gemma 3", "mistral"])
def test_sliding_windows_are_refused(family):
    with pytest.raises(ValueError, match=r"sliding windows.*set it to false"):
        fixed.check_whole_view(FAMILIES[family])


def test_a_run_refuses_them_before_any_work(tmp_path):
    model = AutoModelForCausalLM.from_config(FAMILIES["mistral"])
    model.save_pretrained(tmp_path)
    folder = HOME / "activedpo_lib/assets/llama-0"
    models.load_tokenizer(folder).save_pretrained(tmp_path)
    params = load_params("tiny", overrides={"model.base": str(tmp_path)})
    check_base(params)
    graphed = dataclasses.replace(params.generation, graphed=True)
    with pytest.raises(ValueError, match="sliding windows"):
        check_base(dataclasses.replace(params, generation=graphed))


def test_runs_that_were_made_before_keep_their_name():
    params = load_params("tiny")
    values = dataclasses.asdict(params)
    assert values["generation"].pop("graphed") is False
    graphed = dataclasses.replace(params.generation, graphed=True)
    assert dataclasses.replace(params, generation=graphed).digest() != params.digest()
    assert params.digest("generation") == digest_of({"generation": values["generation"]})


def digest_of(values):
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def test_a_pass_has_one_length_and_a_cache_for_each_size():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES["llama 3"]).float().eval()
    prompts = [tuple(range(3, 3 + n)) for n in (70, 4, 4, 100)]
    start = fixed.FixedBatches(model, prompts, STEPS, 2)
    first, second, third = (
        start(part, COPIES, 0) for part in (prompts[:2], prompts[2:], prompts[:1])
    )
    assert first._cache is second._cache
    assert first._cache is not third._cache
    assert {each._cache.get_max_length() for each in (first, third)} == {128}


@pytest.mark.parametrize("how", ["eager", "traced"])
def test_nothing_of_a_pass_lives_on(how, request, monkeypatch):
    """Neither its caches nor any other tensor, without waiting for the garbage collector: training
    follows, and wants the memory. Not even where somebody still holds what started the batches.
    """
    if how == "traced":
        request.getfixturevalue("traced")
    caches, starts = [], []

    def cache(**given):
        made = StaticCache(**given)
        caches.append(weakref.ref(made))
        return made

    def start(*given):
        starts.append(fixed.FixedBatches(*given))
        return starts[-1]

    monkeypatch.setattr(fixed, "StaticCache", cache)
    monkeypatch.setattr(generation, "FixedBatches", start)
    torch.manual_seed(0)
    model = adapted(AutoModelForCausalLM.from_config(FAMILIES["llama 3"]).float())
    given = (*asked(), Sampling(COPIES, STEPS, batch_sequences=15, graphed=True), [0])
    generation.sample(model, *given)  # what is kept for good, the traced step, is made here
    gc.collect()
    gc.disable()
    try:
        caches.clear()
        before = tensors()
        generation.sample(model, *given)
        assert caches
        assert not living(caches)
        assert not tensors() - before
    finally:
        gc.enable()
    assert how == "eager" or graphs() == 1  # the next pass takes the first one's


def test_a_graph_needs_a_size_of_batch():
    with pytest.raises(ParamsError, match=r"graphed with batch_sequences 0.*at least 3"):
        load_params("tiny", overrides={"generation.graphed": True, "generation.batch_sequences": 0})
