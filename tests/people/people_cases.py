"""Questions that the tests of people share."""

from activedpo_lib.people.answers import Question
from activedpo_lib.people.labelling import answer_all


def questions(count=6):
    return [
        Question(f"pair{at}", f"prompt {at}", f"one {at}", f"two {at}", f"because {at}")
        for at in range(count)
    ]


def ask(labelling):
    """Let one who always prefers the second response answer everything."""
    answer_all(labelling, lambda question: "second")
