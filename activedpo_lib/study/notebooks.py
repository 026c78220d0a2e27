"""The notebooks that run studies: what each makes, of whose runs, and the target of `make` that
asks for it. The batch reads it here; nothing of torch is needed for it.
"""

from types import MappingProxyType
from typing import NamedTuple

ALL = "all_figures"  # the target of every notebook that names no other


class StudyNotebook(NamedTuple):
    """One notebook, as the batch sees it."""

    figures: tuple[str, ...]  # that it makes
    studies: tuple[str, ...]  # whose runs it needs; what two share is run by whoever comes first
    minutes: int  # about, of one core, on the built-in world with 3 seeds; the longest starts first
    target: str = ALL
    reads: tuple[str, ...] = ()  # figures of others that it draws or tells of
    grid: bool = False  # it reads the tables of every run of Figure 1
    known: bool = False  # it needs a truth that is known, as the built-in world's


# What is made rarely, or takes long, has a target of its own: what it makes.
ALONE = MappingProxyType(
    {
        "strategies": "Figures 13 and 20: every strategy",
        "fresh": "Figures 18 and 22: seeds of their own",
        "scale": "Figure 19: models of four sizes",
        "parts": "Figures 23 and 24: which part, and whose labels",
    }
)

ROOM = ("fig16_room",)
NOTEBOOKS = MappingProxyType(
    {
        "06_label_elasticity": StudyNotebook(("fig15_label_elasticity",), ("elasticity",), 3),
        "07_room": StudyNotebook(ROOM, ("room",), 6, reads=("fig15_label_elasticity",), grid=True),
        "10_model_dependence": StudyNotebook(("fig2_model_dependence",), ("clusters",), 4),
        "11_normalisation": StudyNotebook(("fig3_normalisation",), ("normalisation",), 5),
        "12_projection": StudyNotebook(
            ("fig4_projection", "fig11_projection_quality"), ("projection",), 4
        ),
        "13_proposition_1": StudyNotebook(
            ("fig6_proposition_1", "fig6_proposition_1_beyond"), ("proposition",), 3, known=True
        ),
        "14_v_ablation": StudyNotebook(("fig7_v_ablation",), ("v_ablation",), 2),
        "15_costs": StudyNotebook(("fig8_costs",), ("probed",), 1, reads=("fig1_reward",)),
        "16_forgetting": StudyNotebook(("fig9_forgetting",), ("probed",), 3),
        "17_what_was_picked": StudyNotebook(("fig10_picks",), ("probed",), 2),
        "18_when_does_it_pay": StudyNotebook(
            ("fig12_when_it_pays",), ("pays", "ridge"), 15, reads=ROOM
        ),
        "19_all_strategies": StudyNotebook(
            ("fig13_all_strategies", "fig20_equal_kl"),
            ("strategies", "equal_kl"),
            35,
            "strategies",
            reads=ROOM,
        ),
        "20_is_it_the_labels": StudyNotebook(
            ("fig17_controls", "fig21_longer"), ("controls", "equal_kl", "longer"), 24
        ),
        "21_replay": StudyNotebook(("fig14_replay",), ("replay",), 5),
        "22_decisions": StudyNotebook(("decisions",), ("decisions",), 6),
        "25_fresh_seeds": StudyNotebook(
            ("fig18_fresh_seeds", "fig22_own_step"),
            ("confirm", "confirm_truth", "confirm_equal_kl", "confirm_own_step", "equal_kl"),
            20,
            "fresh",
            reads=ROOM,
        ),
        "26_model_size": StudyNotebook(
            ("fig19_model_size",), ("scale_tuning", "scale"), 120, "scale"
        ),
        "27_which_part": StudyNotebook(
            ("fig23_parts", "fig24_more_controls"), ("parts", "more_controls"), 20, "parts"
        ),
    }
)
# {notebook: the figures that it makes}, also where it runs no study.
FIGURES = MappingProxyType(
    {name: notebook.figures for name, notebook in NOTEBOOKS.items()}
    | {"08_main_results": ("fig1_reward", "fig5_win_rate")}
)


def of_target(target: str, known: bool = True) -> list[StudyNotebook]:
    """A target's notebooks; without `known`, those that can do without the truth."""
    own = (notebook for notebook in NOTEBOOKS.values() if notebook.target == target)
    return [notebook for notebook in own if known or not notebook.known]


def figures_of(target: str, known: bool = True) -> list[str]:
    """The names of the figures that a target makes."""
    return [figure for notebook in of_target(target, known) for figure in notebook.figures]


def studies_of(target: str) -> set[str]:
    """The names of the studies whose runs a target needs."""
    return {study for notebook in of_target(target) for study in notebook.studies}
