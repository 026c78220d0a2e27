"""What notebooks 00, 02 and 03 show of the world and its oracle, against the world itself."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from activedpo_lib import load_params, load_task, preference_probability, stream
from activedpo_lib.records import Comparison
from activedpo_lib.study.drawing import world_looks
from activedpo_lib.tasks import truth
from activedpo_lib.tasks.world import LANGUAGES, draw_prompt, write

TASKS = sorted(LANGUAGES)


@pytest.fixture
def ax():
    yield plt.subplots()[1]
    plt.close("all")


@pytest.mark.parametrize("task", TASKS)
def test_responses_are_sorted_by_the_tasks_own_utility(task):
    params = load_params("tiny", task)
    known = load_task(params.task, params.evaluation.prompts, comparisons=False).utility
    prompt, found = world_looks.prompt_and_responses(task, stream=stream(3, "look"))
    values = [known(prompt, text) for text in found["response"]]
    np.testing.assert_allclose(found["u"], values)
    assert values == sorted(values, reverse=True)
    assert len(found) == len(LANGUAGES[task].PERSONAS) + 1
    by_writer = found.set_index("writer")["response"]
    assert by_writer["persona 1"] != by_writer["persona 1, damaged"]
    again = world_looks.prompt_and_responses(task, stream=stream(3, "look"))[1]
    pd.testing.assert_frame_equal(found, again)


@pytest.mark.parametrize("task", TASKS)
def test_what_readers_are_said_to_like_is_worth_more_than_what_they_dislike(task):
    language, rng = LANGUAGES[task], stream(0, "taste").numpy()
    for at in range(20):
        prompt = draw_prompt(language, rng, str(at))
        said = world_looks.taste_in_words(task, prompt)
        worth, tones = language.GRAMMAR.worth, language.TONES
        liked, disliked = (
            {word.strip(",.;") for word in part.split()} & set(worth)
            for part in said.split("; they dislike ")
        )
        tone = next(t for t in tones if f"tone: {t}." in said)
        values = []
        for wanted, how in ((liked, tone), (disliked, next(t for t in tones if t != tone))):
            told = {s: v for s, v in prompt.facts["slots"].items()
                    if s in language.GRAMMAR.base or v in wanted}  # fmt: skip
            text = language.response_text(told, how, {})
            values.append(truth.utility(prompt, text, language.GRAMMAR))
        assert values[0] > values[1]


def test_utilities_hold_each_prompt_written_and_damaged():
    found = world_looks.utilities(50, stream=stream(0, "utilities"))
    counts = found.groupby(["task", "kind"]).size()
    assert set(counts) == {50}
    assert len(counts) == 2 * len(TASKS)
    means = found.pivot_table(index="task", columns="kind", values="utility")
    assert (means["written"] > means["damaged"] + 1).all()


def test_the_truth_agrees_with_labels_as_often_as_bradley_terry_says():
    """The expected agreement is the mean of sigma(|gap|), here over other pairs of the world."""
    found = world_looks.human_agreement(1000, stream=stream(0, "humans")).set_index("task")
    for task, language in LANGUAGES.items():
        rng, expected = np.random.default_rng(5), []
        for at in range(1000):
            prompt = draw_prompt(language, rng, str(at))
            first, second = (
                truth.utility(
                    prompt,
                    write(language, prompt, rng, language.PERSONAS[rng.integers(6)]),
                    language.GRAMMAR,
                )
                for _ in range(2)
            )
            if first != second:
                expected.append(1 / (1 + np.exp(-abs(first - second))))
        assert found.loc[task, "agreement"] == pytest.approx(np.mean(expected), abs=0.05)
        assert found.loc[task, "comparisons"] == pytest.approx(len(expected), rel=0.1)


def test_a_seeds_loss_is_read_when_it_is_there(tmp_path):
    params = load_params("smoke", overrides={"task.sft_rows": 32})
    found = world_looks.sft_losses(params, [0, 1], tmp_path)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("made.json")}
    assert len(made) == 2
    assert found["seed"].tolist() == [0, 1]
    assert found["loss"].nunique() == 2
    pd.testing.assert_frame_equal(found, world_looks.sft_losses(params, [0, 1], tmp_path))
    assert made == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("made.json")}


def test_a_gap_is_the_rewards_of_chosen_less_rejected():
    rows = [Comparison("p", "long text", "short"), Comparison("pp", "a", "bcd")]
    gaps = world_looks.reward_gaps(
        lambda prompts, texts: np.array(
            [len(prompt.text) * len(text) for prompt, text in zip(prompts, texts, strict=True)]
        ),
        rows,
    )
    np.testing.assert_array_equal(gaps, [9 - 5, 2 * (1 - 3)])


def test_ties_count_half_in_the_agreement():
    share, half = world_looks.agreement(np.array([1.0, -1.0, 0.0, 0.0, 2.0]))
    assert share == pytest.approx((1 + 0 + 0.5 + 0.5 + 1) / 5)
    assert half == pytest.approx(1.96 * np.sqrt(0.6 * 0.4 / 5))


def test_an_oracle_that_is_the_humans_own_lies_on_the_line_of_eq_1():
    """Humans drawn from the reward itself; a reward three times too sure leaves the line."""
    rng = np.random.default_rng(0)
    size = rng.exponential(1.5, 20000)
    gaps = np.where(rng.random(20000) < preference_probability(size, 0), size, -size)
    for factor, near in ((1, True), (3, False)):
        found = world_looks.calibration(factor * gaps)
        away = np.abs(found["agree"] - preference_probability(found["sure"], 0))
        assert (away < 0.035).all() == near
    assert found["sure"].is_monotonic_increasing
    assert found["agree"].mean() == pytest.approx(world_looks.agreement(gaps)[0])


def test_truth_and_reward_are_of_the_same_responses():
    grammar = LANGUAGES["tldr"].GRAMMAR

    def score(prompts, texts):
        pairs = zip(prompts, texts, strict=True)
        return np.array([truth.utility(prompt, text, grammar) for prompt, text in pairs])

    found = world_looks.truth_and_reward("tldr", score, 40, stream=stream(0, "look"))
    np.testing.assert_allclose(found["utility"], found["reward"])
    assert found["utility"].nunique() > 10


def test_each_task_has_its_panel():
    drawn = world_looks.utilities(30, stream=stream(0, "utilities"))
    figure = world_looks.by_task(drawn, world_looks.topic_bars)
    assert [ax.get_title() for ax in figure.axes] == ["tldr", "webgpt"]
    for ax in figure.axes:
        assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1)
    plt.close(figure)


@pytest.mark.parametrize("longest", [3, 20, 95])
def test_a_length_histogram_holds_every_response(longest, ax):
    lengths = {"pi_SFT": [1, 2, longest], "demonstrations": [2, 2, 3]}
    world_looks.length_histogram(lengths, longest, ax)
    for outline in ax.patches:
        corners = outline.get_xy()
        assert abs(np.trapezoid(corners[:, 1], corners[:, 0])) == pytest.approx(1)
        assert corners[:, 0].max() > longest


def test_utility_histograms_hold_every_utility(ax):
    drawn = world_looks.utilities(200, stream=stream(0, "utilities"))
    world_looks.utility_histogram(drawn[drawn["task"] == "webgpt"], ax)
    edges = ax.patches[0].get_xy()[:, 0]
    assert edges.min() <= drawn["utility"].min()
    assert drawn["utility"].max() <= edges.max()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["written", "damaged"]


def test_the_oracle_is_drawn_beside_eq_1_and_beside_the_truth(ax):
    gaps = np.random.default_rng(0).normal(0.5, 1, 400)
    world_looks.calibration_plot(world_looks.calibration(gaps), ax)
    x, y = ax.lines[-1].get_data()
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x)))
    seen = pd.DataFrame({"utility": [0.0, 1.0, 2.0], "reward": [0.1, 0.0, 0.5]})
    correlation = np.corrcoef(seen["utility"], seen["reward"])[0, 1]
    title = world_looks.truth_scatter(seen, ax).get_title()
    assert title == f"correlation {correlation:.2f}"
