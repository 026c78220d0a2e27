"""Exercises that answer: `check("12.2", 400)` says what is right or wrong with an answer."""

from activedpo_lib.course import beyond, papers_figures, what_there_is
from activedpo_lib.course.kinds import OPEN, Exercise, Verdict

EXERCISES: dict[str, Exercise] = (
    what_there_is.EXERCISES | papers_figures.EXERCISES | beyond.EXERCISES
)


def check(exercise: str, answer: object = OPEN) -> Verdict:
    """What is right or wrong with an answer to an exercise: "12.2" is the second of notebook 12.

    An answer of `...` is none yet. Raises ValueError for an exercise that there is not.
    """
    if exercise not in EXERCISES:
        notebook = exercise.partition(".")[0]
        near = [name for name in EXERCISES if name.partition(".")[0] == notebook]
        raise ValueError(
            f"expected the number of an exercise, got {exercise!r}; "
            f"notebook {notebook!r} has {near or 'none: numbers are as in 12.2'}"
        )
    return EXERCISES[exercise].check(answer)
