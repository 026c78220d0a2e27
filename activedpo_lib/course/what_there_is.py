"""The exercises of lesson 1 and of notebooks 00 to 07: the world, one round, the models, the
labeller, the runs, and whether the laboratory can tell.
"""

import numpy as np

from activedpo_lib.course.kinds import Choice, Exercise, Function, Number

EXERCISES: dict[str, Exercise] = {
    "lesson1.1": Number(
        np.log(0.73 / 0.27),
        "The logit: sigma of the difference is 0.73, so the difference is log(0.73 / 0.27).",
        {
            0.73: "That is the probability; the difference is what sigma makes a probability of.",
            0.46: "That is a difference of two probabilities, not of two rewards.",
            np.log10(0.73 / 0.27): "Nearly: sigma takes the natural logarithm.",
        },
    ),
    "lesson1.2": Choice(
        "reference",
        {
            "reference": "A large beta makes leaving the reference dear: r / beta is small.",
            "best response": "That is a small beta: r / beta is large, all goes to one response.",
        },
    ),
    "00.1": Choice(
        "no",
        {
            "yes": "Look at more prompts: each likes other details, which another persona tells.",
            "no": "The persona that happens to tell this prompt's liked details wins.",
        },
    ),
    "00.2": Function(
        lambda b, w: 3 * b * 0.6**w,
        lambda random: (random.random(), int(random.integers(1, 4))),
        "Each wrong fact leaves 0.6 of what the right ones were worth.",
        {
            "Wrong facts multiply, they do not subtract: 0.6 to the power of w.": (
                lambda b, w: 3 * b * (1 - 0.4 * w)
            ),
            "You raised b as well: only 0.6 has the power of w.": lambda b, w: 3 * (b * 0.6) ** w,
        },
    ),
    "01.1": Choice(
        "it stays on it",
        {
            "it stays on it": "A large ridge: V hardly moves, only phi's own norm counts.",
            "it falls to zero": "That is a small ridge: what was asked once counts as known.",
            "it falls as before": "The ridge is V's start. Next to 100, what do the picks add?",
        },
    ),
    "01.2": Function(
        lambda norms: np.log1p(np.square(norms)),
        lambda random: (random.random(4),),
        "det(V + phi phi') = det(V) (1 + phi' V^-1 phi), and Eq. 3's score is that root.",
        {
            "Eq. 3's score is a norm, the determinant lemma has its square.": (
                lambda norms: np.log1p(norms)
            ),
            "The lemma has 1 + the square: np.log1p instead of np.log.": (
                lambda norms: np.log(np.square(norms))
            ),
        },
    ),
    "01.3": Function(
        lambda logps, mask: (logps * mask).sum(1),
        lambda random: (-random.random((3, 6)), np.arange(6) < random.integers(1, 6, (3, 1))),
        "The log-probability of a response is the sum over its tokens: a log-ratio of means "
        "is no reward of Eq. 1.",
        {
            "This is still the mean over tokens.": (
                lambda logps, mask: (logps * mask).sum(1) / mask.sum(1)
            ),
            "The padding is summed too: the mask says which tokens are the response's.": (
                lambda logps, mask: logps.sum(1)
            ),
        },
    ),
    "02.1": Choice(
        "pi_sft's",
        {
            "pi_sft's": "It moves towards the base model's lengths; demonstrations are data.",
            "the demonstrations'": "Those are data: no learning rate changes them.",
        },
    ),
    "02.2": Function(
        lambda responses, end: sum(r[-1] != end for r in responses) / len(responses),
        lambda random: ([random.integers(0, 3, 4).tolist() for _ in range(6)], 0),
        "A response that ended by itself ends with the end token; the others were cut.",
        {
            "That is the share that ended by themselves.": (
                lambda responses, end: sum(r[-1] == end for r in responses) / len(responses)
            ),
            "Look at the last token only.": (
                lambda responses, end: sum(end not in r for r in responses) / len(responses)
            ),
        },
    ),
    "03.1": Choice(
        "the least sure",
        {
            "the least sure": "Broken text is disliked from few examples; finer differences go.",
            "the surest": "Those are pairs with one broken response: few examples suffice.",
        },
    ),
    "03.2": Function(
        lambda first, second: np.mean(1 / (1 + np.exp(-np.abs(first - second)))),
        lambda random: (random.normal(size=5), random.normal(size=5)),
        "Who knows the utilities says the likelier side, and is right with its probability.",
        {
            "Where p is below a half, the best answer is the other side: max(p, 1 - p).": (
                lambda first, second: np.mean(1 / (1 + np.exp(second - first)))
            ),
        },
    ),
    "04.1": Choice(
        "longer",
        {
            "longer": "The gradient of a sum over more tokens is longer; nothing divides it.",
            "shorter": "That holds for a mean over tokens. DPO's reward is a sum (D1).",
        },
    ),
    "04.2": Choice(
        "the norm of phi",
        {
            "the norm of phi": "V is nearly a multiple of the identity: nothing is spread.",
            "similarity to earlier picks": "That is V's work, and V hardly grows beside 100.",
            "the margin": "The margin never enters Eq. 3.",
        },
    ),
    "05.1": Choice(
        "at random",
        {
            "at random": "Before any label every margin is zero: all pairs tie.",
            "the surest pairs": "Sure of what? Before any label the policy is pi_SFT.",
        },
    ),
    "05.2": Function(
        lambda lengths, count: np.argsort(lengths, kind="stable")[:count],
        lambda random: (random.permutation(9), 3),
        "`largest(-lengths, count, ties)` does the same and breaks ties at random.",
        {
            "These are the longest.": (
                lambda lengths, count: np.argsort(-lengths, kind="stable")[:count]
            ),
            "These are the lengths; a strategy returns the rows.": (
                lambda lengths, count: np.sort(lengths)[:count]
            ),
        },
    ),
    "05.3": Function(
        lambda entropy, share: np.argsort(-entropy)[: round(share * len(entropy))],
        lambda random: (random.random(10), 0.4),
        "APLP keeps the prompts of *highest* entropy; the lowest give near-twins.",
        {
            "Still the lowest entropy: its responses resemble each other.": (
                lambda entropy, share: np.argsort(entropy)[: round(share * len(entropy))]
            ),
            "The right prompts, from the last to the first of them.": (
                lambda entropy, share: np.argsort(entropy)[-round(share * len(entropy)) :]
            ),
        },
    ),
    "06.1": Function(
        lambda labels, batch, epochs: int(np.ceil(labels / batch)) * epochs,
        lambda random: (int(random.integers(5, 30)), 4, int(random.integers(1, 9))),
        "The last batch of an epoch may be small; it is a step all the same.",
        {
            "The last, smaller batch of each epoch is left out.": (
                lambda labels, batch, epochs: labels // batch * epochs
            ),
            "An epoch has whole steps: round up before you multiply.": (
                lambda labels, batch, epochs: int(np.ceil(labels * epochs / batch))
            ),
        },
    ),
    "06.2": Choice(
        "the true utility",
        {
            "the true utility": "The truth falls first; the oracle's reward has holes to climb in.",
            "the reward": "DPO raises what the oracle likes; its holes keep the reward up.",
        },
    ),
    "07.1": Choice(
        "it says what is known",
        {
            "it says what is known": "Large gaps often come from one broken response.",
            "it is noisy": "The larger the gap, the less noise has a label.",
            "its gradient is zero": "Two very different responses have a long phi.",
        },
    ),
    "07.2": Function(
        lambda strategy, random, ceiling: (strategy - random) / (ceiling - random),
        lambda random: (random.random(), random.random(), 2.0),
        "Of what could be gained over Random, the share that the strategy gains.",
        {
            "Random's own gain is no merit of the strategy: subtract it above and below.": (
                lambda strategy, random, ceiling: strategy / ceiling
            ),
            "Subtract Random below as well.": (
                lambda strategy, random, ceiling: (strategy - random) / ceiling
            ),
        },
    ),
}
