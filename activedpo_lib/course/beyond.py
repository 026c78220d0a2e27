"""The exercises of notebooks 15 to 26: beyond the paper, and a person as the oracle."""

import numpy as np

from activedpo_lib.course.kinds import Choice, Exercise, Function, Number

EXERCISES: dict[str, Exercise] = {
    "15.1": Function(
        lambda price, labels, hours: price * labels / hours,
        lambda random: (random.random(), 10, 0.1 + random.random()),
        "Above that price of an hour, ten more labels are cheaper than better picks.",
        {
            "Turn it over: money over hours.": lambda price, labels, hours: hours / price / labels,
            "One label's price; ten were asked for.": lambda price, labels, hours: price / hours,
        },
    ),
    "15.2": Number(
        2.0,
        "A forward pass, and the gradient of the inputs; an adapter's own products are small.",
        {
            3.0: "That is full training: weights' gradients too. LoRA has few of them.",
            1.0: "A gradient needs the way back as well.",
        },
        near=0.15,
    ),
    "16.1": Choice(
        "it falls",
        {
            "it falls": "The reference pulls three times as hard; the reward may fall along.",
            "it rises": "Beta is the price of leaving the reference.",
        },
    ),
    "16.2": Choice(
        "pi_t",
        {
            "pi_t": "KL(pi_t || pi_ref) is an expectation under pi_t.",
            "pi_ref": "Under pi_ref the same mean estimates minus KL(pi_ref || pi_t).",
        },
    ),
    "17.1": Choice(
        "nothing",
        {
            "nothing": "V already keeps it from asking about a prompt twice in a round.",
            "most": "Only where a batch repeats prompts. Look at ActiveDPO's share of them.",
            "length": "Nothing in this rule looks at lengths.",
        },
    ),
    "17.2": Number(
        np.sqrt(1 / 12 / 160),
        "Ranks are uniform: their variance is 1 / 12.",
        {
            np.sqrt(1 / 12): "That is one pick's; a mean of 160 varies less.",
            0.5 / np.sqrt(160): "0.5 is the mean of a uniform, not its standard deviation.",
        },
        near=0.02,
    ),
    "18.1": Choice(
        "it stays",
        {
            "it stays": "Random draws from the same distribution, however large the pool.",
            "it rises": "A larger pool helps who looks at it. Random does not.",
        },
    ),
    "18.2": Function(
        lambda deviation: int(np.ceil((2 * deviation / 0.05) ** 2)),
        lambda random: (0.1 + random.random(),),
        "Two standard errors are about half a 95 % interval.",
        {
            "An interval is two standard errors to each side.": (
                lambda deviation: int(np.ceil((deviation / 0.05) ** 2))
            ),
            "The half width falls as 1 / sqrt(n): square it.": (
                lambda deviation: int(np.ceil(2 * deviation / 0.05))
            ),
        },
    ),
    "19.1": Choice(
        "a column of its own",
        {
            "a column of its own": 'One entry: `COLUMNS["mine"] = function`.',
            "phi": "Gradients say what a label would teach, not which tokens are shared.",
            "entropy": "That is one response's own; sharing is of two.",
        },
    ),
    "19.2": Function(
        lambda comparisons: 1 - 0.05 / comparisons,
        lambda random: (int(random.integers(2, 30)),),
        "Bonferroni: all intervals together are wrong at most one time in twenty.",
        {
            "That is the share of wrong ones allowed; a level is what is left.": (
                lambda comparisons: 0.05 / comparisons
            ),
            "A power is for independent comparisons, the other way round.": (
                lambda comparisons: 0.95**comparisons
            ),
        },
    ),
    "20.1": Choice(
        "the coin's errors cancel",
        {
            "the coin's errors cancel": "One's own mistakes agree with each other, and add up.",
            "the coin is right more often": "A coin is right half the time, whatever the pair.",
        },
    ),
    "20.2": Function(
        lambda tuning, figures: figures[int(np.argmax(tuning))],
        lambda random: (random.random(4), random.random(4)),
        "Chosen on one draw, read once on the other: no luck of the choice is in the number.",
        {
            "Chosen where it is read: the best of four lucky numbers.": (
                lambda tuning, figures: figures.max()
            ),
            "That is the number it was chosen by, which is too good.": (
                lambda tuning, figures: tuning.max()
            ),
        },
    ),
    "21.1": Choice(
        "nothing",
        {
            "nothing": "In expectation: Random draws from the same comparisons.",
            "its agreement rises": "Random does not look at what there is more of.",
        },
    ),
    "21.2": Number(
        np.sqrt(0.6 * 0.4 / 400),
        "Strategies share the held-out comparisons, so their differences are sharper.",
        {
            np.sqrt(0.6 * 0.4): "That is one comparison's; 400 were asked for.",
            0.6 * 0.4 / 400: "That is the variance: take its root.",
        },
    ),
    "22.1": Choice(
        "the training",
        {
            "the training": "The same gap of log-probabilities counts beta times in Eq. 2.",
            "the picks": "All phi scale alike, and a relative ridge with them.",
        },
    ),
    "22.2": Number(
        0.0,
        "B is zero again, so A has no gradient: the tour's check, now in every round.",
        {
            0.5: "A's gradient is multiplied by B. What is B after merging?",
            1.0: "It is the other way: with B at zero all of the gradient is B's.",
        },
    ),
    "23.1": Choice(
        "shorter ones",
        {
            "shorter ones": "DPO learns whatever the labels say.",
            "better ones": "Better for whom? It follows your answers.",
        },
    ),
    "23.2": Number(
        0.6,
        "Cohen's kappa: (0.8 - 0.5) / (1 - 0.5), what is left beyond chance.",
        {
            0.8: "Half of the agreement comes by chance: take it out.",
            0.3: "Divide by what could have been gained beyond chance.",
        },
    ),
    "25.1": Choice(
        "it was also lucky",
        {
            "it was also lucky": "The best of many is chosen for its worth and for its luck.",
            "the seeds are harder": "A seed is drawn as any other; Random meets the same ones.",
        },
    ),
    "25.2": Number(
        22 * 0.025,
        "Half of the five in a hundred that miss zero by chance lie above it.",
        {
            22 * 0.05: "That counts those below Random as well.",
            0.025: "That is one strategy's chance; there are 22.",
        },
    ),
    "24.1": Choice(
        "the longest",
        {
            "the longest": "V stays near a multiple of the identity: the norm alone decides.",
            "the most spread": "That is a small ridge: each pick darkens its surroundings.",
        },
    ),
    "24.2": Number(
        0.5,
        "Its squared norm by V^-1 goes from 1 to 1 / (1 + 1).",
        {
            1.0: "That was before: the twin's label is in V now.",
            0.0: "One label does not make a direction certain, unless the ridge is zero.",
            np.sqrt(0.5): "Nearly: that is the norm, its square was asked for.",
        },
    ),
    "26.1": Function(
        lambda values, ridge: (values / (values + ridge)).sum(),
        lambda random: (random.exponential(size=8), 0.5 + random.random()),
        "Each direction counts by the share of it that the ridge leaves.",
        {
            "Without the ridge every direction counts as one.": lambda values, ridge: len(values),
            "That is what the ridge takes away; its rest was asked for.": (
                lambda values, ridge: (ridge / (values + ridge)).sum()
            ),
        },
    ),
    "26.2": Choice(
        "chance is smaller too",
        {
            "chance is smaller too": "Compare it with what random vectors of that length show.",
            "the ridge hides it": "A cosine knows no ridge.",
        },
    ),
    "27.1": Function(
        lambda phi, mu: np.abs(phi @ (phi.T @ mu)),
        lambda random: (random.normal(size=(9, 4)), random.normal(size=9)),
        "The sum over the pool is a direction; each pair is measured along it, on either side.",
        {
            "A pair on the other side is worth as much: its label may be turned.": (
                lambda phi, mu: phi @ (phi.T @ mu)
            ),
            "That is predicted gap: the sum over the pool is missing.": lambda phi, mu: np.abs(mu),
            "Without mu it is the direction of the pool's mean, not of the reward.": (
                lambda phi, mu: np.abs(phi @ phi.sum(0))
            ),
        },
    ),
    "27.2": Choice(
        "the direction",
        {
            "the direction": "As far, but not where the reward is.",
            "the distance": "That was the same for both.",
        },
    ),
}
