import numpy as np
import pytest

from activedpo_lib.batch.bases import manifest
from activedpo_lib.runs.pretrained import ASSETS
from activedpo_lib.store import read_json
from activedpo_lib.streams import stream
from activedpo_lib.tasks.truth import broken_bigrams, reading, utility
from activedpo_lib.tasks.words import vocabulary
from activedpo_lib.tasks.world import LANGUAGES, Rows, corrupt, draw_prompt, world_task, write


@pytest.fixture(params=LANGUAGES)
def language(request):
    return LANGUAGES[request.param]


def drawn(language, count=60):
    rng = stream(0, "test", language.NAME).numpy()
    prompts = [draw_prompt(language, rng, str(i)) for i in range(count)]
    return rng, prompts


def test_every_word_is_in_the_vocabulary(language):
    rng, prompts = drawn(language)
    known = set(vocabulary())
    for prompt in prompts:
        assert set(prompt.text.split()) <= known
        assert set(write(language, prompt, rng).split()) <= known
        assert set(corrupt(language, write(language, prompt, rng), rng).split()) <= known


def test_what_people_write_is_never_broken_and_damage_mostly_is(language):
    rng, prompts = drawn(language)
    texts = [write(language, p, rng, language.PERSONAS[i % 6]) for i, p in enumerate(prompts)]
    assert all(broken_bigrams(t.split(), language.GRAMMAR) == 0 for t in texts)
    assert (
        np.mean(
            [broken_bigrams(corrupt(language, t, rng).split(), language.GRAMMAR) > 0 for t in texts]
        )
        > 0.8
    )


def test_damage_lowers_the_utility(language):
    rng, prompts = drawn(language)
    texts = [write(language, p, rng, language.PERSONAS[i % 6]) for i, p in enumerate(prompts)]
    written = [utility(p, t, language.GRAMMAR) for p, t in zip(prompts, texts, strict=True)]
    damaged = [
        utility(p, corrupt(language, t, rng), language.GRAMMAR)
        for p, t in zip(prompts, texts, strict=True)
    ]
    assert np.mean(written) > np.mean(damaged) + 1


def test_a_wrong_fact_costs_a_liked_detail_pays_and_a_disliked_one_costs():
    language = LANGUAGES["tldr"]
    _, prompts = drawn(language, 200)
    prompt = next(
        p
        for p in prompts
        if p.facts["slots"].get("cause") == "debt" and p.facts["slots"].get("where") == "home"
    )
    slots = prompt.facts["slots"]
    base = {slot: slots[slot] for slot in ("who", "act", "thing")}

    def value(more):
        return utility(prompt, language.response_text(base | more, "plain", {}), language.GRAMMAR)

    wrong = next(word for word in language.GRAMMAR.slots["where"] if word != slots["where"])
    assert value({"cause": "debt"}) == value({}) + language.WORTH
    assert value({"where": "home"}) == value({}) - language.WORTH
    assert value({}) > value({"where": wrong})


def test_half_of_each_slots_details_are_liked(language):
    worth = language.GRAMMAR.worth
    for slot in language.OPTIONAL:
        assert sum(worth[word] for word in language.GRAMMAR.slots[slot]) == 0
    assert {word for word in worth if worth[word] > 0} == language.LIKED


def test_a_skewed_pool_tells_some_details_more_often_and_an_even_one_does_not(language):
    shares = {}
    for skew in (0.0, 2.0):
        rng = stream(0, "skew", language.NAME).numpy()
        told = [
            word
            for i in range(2000)
            for word in draw_prompt(language, rng, str(i), skew).facts["slots"].values()
            if word in language.GRAMMAR.slots["when" if language.NAME == "tldr" else "place"]
        ]
        shares[skew] = np.unique(told, return_counts=True)[1] / len(told)
    assert np.ptp(shares[0.0]) < 0.1
    assert shares[2.0].max() > 0.6


def test_a_lying_citation_costs():
    language = LANGUAGES["webgpt"]
    _, prompts = drawn(language)
    prompt = prompts[0]
    mark = next(m for m, v in prompt.facts["quotes"].items() if v == prompt.facts["slots"]["cause"])
    other = next(m for m in prompt.facts["quotes"] if m != mark)
    base = {slot: prompt.facts["slots"][slot] for slot in ("subject", "verb", "cause")}
    texts = [language.response_text(base, "none", {base["cause"]: m}) for m in (mark, other)]
    found = [reading(prompt, text, language.GRAMMAR)["citations"] for text in texts]
    assert found == [(1, 0), (0, 1)]
    assert utility(prompt, texts[0], language.GRAMMAR) > utility(prompt, texts[1], language.GRAMMAR)


def test_an_empty_response_is_worth_less_than_a_plain_one(language):
    _, prompts = drawn(language)
    tone = next(iter(language.TONES))
    for prompt in prompts[:20]:
        base = {slot: prompt.facts["slots"][slot] for slot in language.GRAMMAR.base}
        plain = language.response_text(base, tone, {})
        assert utility(prompt, "", language.GRAMMAR) < utility(prompt, plain, language.GRAMMAR)


def test_the_world_is_the_same_every_time_and_its_draws_are_apart():
    first, again, tuning = (
        world_task("tldr", Rows(5, 5, 50, 20), split) for split in ("figures", "figures", "tuning")
    )
    assert first.sft == again.sft
    assert first.prompts == again.prompts
    assert first.comparisons == again.comparisons
    assert not {p.text for p in first.prompts + first.evaluation} & {p.text for p in tuning.prompts}
    with pytest.raises(ValueError, match=r"the tasks \['tldr', 'webgpt'\], not 'news'"):
        world_task("news", Rows(1, 1, 1, 1))


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_comparison_is_of_twice_the_same_text_and_some_drawn_were(name):
    task = world_task(name, Rows(1, 2000, 1, 1))
    assert all(c.chosen != c.rejected for c in (*task.comparisons, *task.held_out))
    assert 0.97 < len(task.comparisons) / 2000 < 1


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_reward_model_is_trained_on_no_prompt_of_the_evaluation_or_held_out(name):
    task = world_task(name, Rows(1, 20000, 2000, 100))
    trained = {c.prompt for c in task.comparisons}
    assert not trained & {c.prompt for c in task.held_out}
    assert not trained & {p.text for p in task.evaluation}
    assert len(task.comparisons) > 0.97 * 20000


def test_a_longer_list_begins_with_the_shorter_one():
    short, long = world_task("webgpt", Rows(5, 0, 10, 5)), world_task("webgpt", Rows(9, 0, 20, 5))
    assert long.prompts[:10] == short.prompts
    assert long.sft[:3] == short.sft[:3]


def test_shipped_models_are_those_of_the_manifest():
    assert read_json(ASSETS / "manifest.json")["files"] == manifest()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_a_base_is_made_the_same_twice(family, tmp_path):
    from activedpo_lib.runs.pretrained import make_world_base
    from activedpo_lib.schema import ModelParams

    for name in "ab":
        make_world_base(ModelParams(family, family), 0, 320, tmp_path / name)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1]
