"""What notebooks 00, 02 and 03 look at: the built-in world's prompts and people, pi_SFT's lengths,
the oracle beside humans and truth. First the tables, then how each is drawn: (table, axis) -> axis.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from activedpo_lib.method.formulas import preference_probability
from activedpo_lib.records import Comparison, Prompt
from activedpo_lib.runs import artifacts
from activedpo_lib.schema import Params
from activedpo_lib.streams import Stream
from activedpo_lib.study.drawing.plots import COLOURS, VARIANTS
from activedpo_lib.tasks.truth import prefers_first, reading, utility
from activedpo_lib.tasks.world import LANGUAGES, corrupt, draw_prompt, draw_response, write

Score = Callable[[Sequence[Prompt], Sequence[str]], np.ndarray]
NORMAL_95 = 1.96  # half widths of a 95 % interval of a share, by the normal approximation


def prompt_and_responses(task: str, *, stream: Stream) -> tuple[Prompt, pd.DataFrame]:
    """One prompt of the built-in world, and what its people write: a row a response, best first.

    Each persona writes once, and the first one's response is damaged once. Columns: writer,
    response, u (the true utility, utils), right, wrong, details, citations (where the task has
    quotes), tone, broken, length, as `truth.reading` finds them.
    """
    language, rng = LANGUAGES[task], stream.numpy()
    prompt = draw_prompt(language, rng, "look")
    texts = {
        f"persona {at + 1}": write(language, prompt, rng, persona)
        for at, persona in enumerate(language.PERSONAS)
    }
    texts["persona 1, damaged"] = corrupt(language, texts["persona 1"], rng)
    rows = []
    for writer, text in texts.items():
        found = reading(prompt, text, language.GRAMMAR)
        found["right"] = " ".join(sorted(found["right"]))
        found["details"] = " ".join(sorted(found["details"]))
        value = utility(prompt, text, language.GRAMMAR)
        rows.append({"writer": writer, "response": text, "u": value} | found)
    unread = [] if "quotes" in prompt.facts else ["citations"]
    return prompt, pd.DataFrame(rows).drop(columns=unread).sort_values("u", ascending=False)


def taste_in_words(task: str, prompt: Prompt) -> str:
    """What the readers of a prompt of the built-in world like and dislike."""
    grammar = LANGUAGES[task].GRAMMAR
    told = [word for word in prompt.facts["slots"].values() if word in grammar.worth]
    liked, disliked = (
        ", ".join(word for word in told if (grammar.worth[word] > 0) == wanted) or "none"
        for wanted in (True, False)
    )
    tone = grammar.tastes[prompt.facts["group"]].tone
    return f"Of its details, readers like {liked}; they dislike {disliked}. Their tone: {tone}."


def utilities(count: int, *, stream: Stream) -> pd.DataFrame:
    """`count` prompts of each task and a response to each, as written and damaged: rows (task,
    kind, topic, utility), utility in utils.
    """
    rows = []
    for task, language in LANGUAGES.items():
        rng = stream.child(task).numpy()
        for at in range(count):
            prompt = draw_prompt(language, rng, str(at))
            text = write(language, prompt, rng, language.PERSONAS[at % len(language.PERSONAS)])
            for kind, said in (("written", text), ("damaged", corrupt(language, text, rng))):
                value = utility(prompt, said, language.GRAMMAR)
                topic = prompt.facts["topic"]
                rows.append({"task": task, "kind": kind, "topic": topic, "utility": value})
    return pd.DataFrame(rows)


def human_agreement(count: int, *, stream: Stream) -> pd.DataFrame:
    """How often a noisy label agrees with the truth on two people's responses to one prompt: rows
    (task, comparisons, agreement); responses of equal utility are not counted.
    """
    rows = []
    for task, language in LANGUAGES.items():
        rng, agree = stream.child(task).numpy(), []
        for at in range(count):
            prompt = draw_prompt(language, rng, str(at))
            writers = [language.PERSONAS[rng.integers(len(language.PERSONAS))] for _ in range(2)]
            first, second = (write(language, prompt, rng, persona) for persona in writers)
            values = [utility(prompt, text, language.GRAMMAR) for text in (first, second)]
            label = prefers_first(prompt, first, second, language.GRAMMAR, rng)
            if values[0] != values[1]:
                agree.append((values[0] > values[1]) == label)
        rows.append({"task": task, "comparisons": len(agree), "agreement": np.mean(agree)})
    return pd.DataFrame(rows)


def sft_losses(params: Params, seeds: Sequence[int], root: Path | str) -> pd.DataFrame:
    """The loss of each seed's SFT, nats a token: rows (task, model, seed, loss). Trains pi_SFT
    where it is not there yet.
    """
    rows = []
    for seed in seeds:
        loss = artifacts.made(artifacts.sft_folder(params, seed, root))["loss"]
        cell = {"task": params.task.name, "model": params.model.name, "seed": seed}
        rows.append(cell | {"loss": loss})
    return pd.DataFrame(rows)


def reward_gaps(score: Score, comparisons: Sequence[Comparison]) -> np.ndarray:
    """r(x, y_w) - r(x, y_l) of each human comparison, (n,) logits: above zero where the reward
    model agrees with the human.
    """
    prompts = [Prompt("", row.prompt) for row in comparisons]
    chosen, rejected = (
        score(prompts, [getattr(row, side) for row in comparisons])
        for side in ("chosen", "rejected")
    )
    return chosen - rejected


def agreement(gaps: np.ndarray) -> tuple[float, float]:
    """(share of humans who agree with the oracle, half the width of its 95 % interval), ties half;
    by the normal approximation. gaps: `reward_gaps`.
    """
    share = float(np.mean((gaps > 0) + 0.5 * (gaps == 0)))
    return share, NORMAL_95 * np.sqrt(share * (1 - share) / len(gaps))


def calibration(gaps: np.ndarray, bins: int = 8) -> pd.DataFrame:
    """How often humans agree with the oracle, by how sure it is: `bins` groups of equal size.

    gaps: `reward_gaps`. Rows (sure, agree, half): the group's mean |gap| in logits, the share of
    its humans who agree, half the width of the share's 95 % interval.
    """
    rows = []
    for group in np.array_split(gaps[np.argsort(np.abs(gaps))], bins):
        share, half = agreement(group)
        rows.append({"sure": np.abs(group).mean(), "agree": share, "half": half})
    return pd.DataFrame(rows)


def truth_and_reward(task: str, score: Score, count: int, *, stream: Stream) -> pd.DataFrame:
    """`count` responses as the reward model's training data are drawn, one a prompt: rows (utility,
    reward), in utils and logits.
    """
    language, rng = LANGUAGES[task], stream.numpy()
    prompts = [draw_prompt(language, rng, str(at)) for at in range(count)]
    texts = [draw_response(language, prompt, rng) for prompt in prompts]
    truth = [utility(*asked, language.GRAMMAR) for asked in zip(prompts, texts, strict=True)]
    return pd.DataFrame({"utility": truth, "reward": score(prompts, texts)})


def by_task(table: pd.DataFrame, draw: Callable[[pd.DataFrame, Axes], Axes]) -> Figure:
    """One panel a task: draw(the task's rows, axis)."""
    tasks = table["task"].unique()
    shape = {"figsize": (4 * len(tasks), 2.8), "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, len(tasks), layout="constrained", **shape)
    for task, ax in zip(tasks, axes[0], strict=True):
        draw(table[table["task"] == task], ax).set_title(task)
        ax.label_outer()
    return figure


def histogram(groups: Mapping[str, Sequence[float]], ax: Axes, edges: np.ndarray) -> Axes:
    """Outlined histograms of several groups on the same bins, as densities, with a legend."""
    for (name, own), shade in zip(groups.items(), VARIANTS, strict=False):
        ax.hist(own, edges, density=True, histtype="step", linewidth=1.6, color=shade, label=name)
    ax.legend(frameon=False)
    ax.set_ylabel("density")
    return ax


def utility_histogram(table: pd.DataFrame, ax: Axes) -> Axes:
    """The utilities of one task's responses, as written and damaged (`utilities`)."""
    groups = {kind: own["utility"] for kind, own in table.groupby("kind", sort=False)}
    histogram(groups, ax, np.arange(-12, 10, 0.5)).set_xlabel("utility (utils)")
    return ax


def topic_bars(table: pd.DataFrame, ax: Axes) -> Axes:
    """How often each topic of one task is asked about, a colour a group of taste (`utilities`)."""
    share = table["topic"].value_counts(normalize=True)
    groups = LANGUAGES[table["task"].iloc[0]].GROUP
    shades = dict(zip(sorted(set(groups.values())), VARIANTS, strict=False))
    ax.bar(share.index, share, color=[shades[groups[topic]] for topic in share.index])
    ax.tick_params(axis="x", rotation=60)
    ax.set_ylabel("share of prompts")
    return ax


def length_histogram(lengths: Mapping[str, Sequence[int]], limit: int, ax: Axes) -> Axes:
    """Tokens a response, EOS included, of several writers; dotted: where sampling is cut."""
    longest = max(map(max, lengths.values()))
    histogram(lengths, ax, np.arange(0, longest + 2, max(1, longest // 30)))
    ax.axvline(limit, color="black", linestyle=":", linewidth=1)
    ax.set_xlabel("tokens, EOS included (dotted: the limit)")
    return ax


def calibration_plot(table: pd.DataFrame, ax: Axes) -> Axes:
    """`calibration` beside the line of a reward that is the humans' own (Eq. 1)."""
    shade = COLOURS["activedpo"]
    ax.errorbar(table["sure"], table["agree"], table["half"], fmt="o", color=shade, capsize=2)
    line = np.linspace(0, table["sure"].max(), 100)
    ax.plot(line, preference_probability(line, 0), color="black", linewidth=1)
    ax.set(xlabel="|r(y1) - r(y2)|, logits", ylabel="share of humans who agree")
    return ax


def truth_scatter(table: pd.DataFrame, ax: Axes) -> Axes:
    """The oracle's reward against the truth, a dot a response (`truth_and_reward`)."""
    ax.scatter(table["utility"], table["reward"], s=5, color=COLOURS["activedpo"])
    correlation = table["utility"].corr(table["reward"])
    ax.set(
        xlabel="true utility (utils)",
        ylabel="oracle reward (logits)",
        title=f"correlation {correlation:.2f}",
    )
    return ax
