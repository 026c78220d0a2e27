"""The notebooks that run studies: which studies, how long, and the target of `make` that asks for
each. Snakefile, plan, progress and reference read it here.
"""

from types import MappingProxyType
from typing import NamedTuple

ALL = "all_figures"  # the target of every notebook that names no other


class StudyNotebook(NamedTuple):
    """studies: whose runs it needs; what two notebooks share is run once, by whoever comes first;
    minutes: on the built-in world with 3 seeds, one core; reads: figures of others that it draws or
    tells of; known: it needs a truth that is known, as the built-in world's.
    """

    studies: tuple[str, ...]
    minutes: int
    target: str = ALL
    reads: tuple[str, ...] = ()
    known: bool = False


# What is made rarely, or takes long, has a target of its own: what it is.
ALONE = MappingProxyType(
    {
        "strategies": "Figures 13 and 20: every strategy",
        "fresh": "Figures 18 and 22: seeds of their own",
        "scale": "Figure 19: models of four sizes",
        "parts": "Figures 23 and 24: which part, and whose labels",
    }
)

NOTEBOOKS = MappingProxyType(
    {
        "06_label_elasticity": StudyNotebook(("elasticity",), 3),
        "07_room": StudyNotebook(("room",), 6, reads=("fig15_label_elasticity",)),
        "10_model_dependence": StudyNotebook(("clusters",), 4),
        "11_normalisation": StudyNotebook(("normalisation",), 5),
        "12_projection": StudyNotebook(("projection",), 4),
        "13_proposition_1": StudyNotebook(("proposition",), 3, known=True),
        "14_v_ablation": StudyNotebook(("v_ablation",), 2),
        "15_costs": StudyNotebook(("probed",), 1, reads=("fig1_reward",)),
        "16_forgetting": StudyNotebook(("probed",), 3),
        "17_what_was_picked": StudyNotebook(("probed",), 2),
        "18_when_does_it_pay": StudyNotebook(("pays", "ridge"), 15, reads=("fig16_room",)),
        "19_all_strategies": StudyNotebook(
            ("strategies", "equal_kl"), 46, "strategies", reads=("fig16_room",)
        ),
        "20_is_it_the_labels": StudyNotebook(("controls", "equal_kl", "longer"), 24),
        "21_replay": StudyNotebook(("replay",), 5),
        "22_decisions": StudyNotebook(("decisions",), 6),
        "25_fresh_seeds": StudyNotebook(
            ("confirm", "confirm_truth", "confirm_equal_kl", "confirm_own_step", "equal_kl"),
            12,
            "fresh",
            reads=("fig16_room",),
        ),
        "26_model_size": StudyNotebook(("scale_tuning", "scale"), 240, "scale"),
        "27_which_part": StudyNotebook(("parts", "more_controls"), 20, "parts"),
    }
)


def of_target(target: str, known: bool = True) -> dict[str, StudyNotebook]:
    """{name: StudyNotebook} of a target; without `known`, those that can do without the truth."""
    return {
        name: notebook
        for name, notebook in NOTEBOOKS.items()
        if notebook.target == target and (known or not notebook.known)
    }


def figures_of(target: str, known: bool = True) -> list[str]:
    """The names of the figures that a target makes."""
    from activedpo_lib.study.studies import (
        FIGURES,
    )  # with torch, which `make status` starts without

    return [figure for name in of_target(target, known) for figure in FIGURES[name]]


def studies_of(target: str) -> set[str]:
    """The names of the studies whose runs a target needs."""
    return {study for notebook in of_target(target).values() for study in notebook.studies}
