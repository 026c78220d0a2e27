"""Algorithm 1 with a person as the oracle: it waits, goes on, and learns what was answered."""

import pytest

from activedpo_lib.batch.batch import check
from activedpo_lib.method import training
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.people.answers import Answers, AnswersError
from activedpo_lib.people.labelling import Labelling, answer_all
from activedpo_lib.records import Fit
from activedpo_lib.runs.by_hand import AnswersMissing, name_of
from activedpo_lib.runs.launch import next_questions, run_rounds
from activedpo_lib.runs.run import labelled_pairs, open_run
from activedpo_lib.streams import stream


def params(path, **more):
    given = {
        "oracle.kind": "human", "oracle.labeller": "ada", "oracle.answers": str(path), "rounds": 2,
        "task.sft_rows": 32, "task.comparison_rows": 40, "oracle.epochs": 1.0,
    }  # fmt: skip
    return load_params("smoke", overrides=given | more)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def silent(line):
    pass


def label_all(path, asked, prefers):
    answer_all(Labelling(Answers(path), asked, "ada", stream=stream(0, "label")), prefers)


def shorter(question):
    return "first" if len(question.first) < len(question.second) else "second"


def test_a_run_waits_for_its_answers_and_learns_them(root, tmp_path):
    path, seen = tmp_path / "a.sqlite", []
    given = params(path)
    with pytest.raises(AnswersMissing, match=r"6 of 6 pairs of round 1 wait for ada's answers"):
        run_rounds(given, 0, root, log=silent)
    while asked := next_questions(given, 0, root, log=silent):
        assert len(asked) == 6
        seen += asked
        label_all(path, asked, shorter)
    table = run_rounds(given, 0, root, log=silent)
    assert table["labels"].tolist() == [0, 6, 12]
    by_name = {question.pair: question for question in seen}
    for pair in labelled_pairs(given, 0, root):
        texts = pair.chosen.text, pair.rejected.text
        assert len(texts[0]) <= len(texts[1])
        assert any({q.first, q.second} == set(texts) for q in by_name.values())
    assert all("Its uncertainty is" in question.why for question in seen)
    assert all("most like the one on" in question.why for question in seen[6:])


def test_answers_of_one_run_serve_another_that_asks_the_same(root, tmp_path):
    path = tmp_path / "a.sqlite"
    for rounds in (1, 2):  # another run: its params differ
        asked = next_questions(params(path, rounds=rounds), 0, root, log=silent)
        if rounds == 1:
            label_all(path, asked, shorter)
            first = [question.pair for question in asked]
    run = open_run(params(path, rounds=2), 0, root, log=silent)
    assert [q.pair for q in Answers(path).asked(name_of(run), 1)] == first
    assert asked
    assert not {q.pair for q in asked} & set(first)  # round 2's


def test_ties_and_skips_are_left_out_or_half(root, tmp_path):
    path = tmp_path / "a.sqlite"
    dropped, half = params(path, rounds=1), params(path, rounds=1, **{"oracle.ties": "half"})
    asked = next_questions(dropped, 0, root, log=silent)
    says = dict(
        zip(
            [q.pair for q in asked], ["tie", "tie", "skip", "first", "first", "second"], strict=True
        )
    )
    label_all(path, asked, lambda question: says[question.pair])
    assert run_rounds(dropped, 0, root, log=silent)["labels"].tolist() == [0, 3]
    assert run_rounds(half, 0, root, log=silent)["labels"].tolist() == [0, 5]
    assert sum(pair.tie for pair in labelled_pairs(half, 0, root)) == 2


def test_a_soft_tie_is_the_mean_of_both_ways_round(root, tmp_path):
    path = tmp_path / "a.sqlite"
    given = params(path, rounds=1, **{"oracle.ties": "half"})
    asked = next_questions(given, 0, root, log=silent)
    label_all(path, asked, lambda question: "tie" if question is asked[0] else "first")
    run_rounds(given, 0, root, log=silent)
    pairs = labelled_pairs(given, 0, root)
    twice, fit = training.with_soft_ties(pairs, Fit(8.0, 1e-3, 6))
    assert fit.epochs == 4
    ways = [(p.chosen.tokens, p.rejected.tokens) for p in twice]
    for pair in pairs:
        own = pair.chosen.tokens, pair.rejected.tokens
        assert ways.count(own) == (1 if pair.tie else 2)
        assert ways.count(own[::-1]) == (1 if pair.tie else 0)
    plain = [pair for pair in pairs if not pair.tie]
    assert training.with_soft_ties(plain, Fit(8.0, 1e-3, 6)) == (plain, Fit(8.0, 1e-3, 6))


def test_a_round_without_any_label_says_so(root, tmp_path):
    path = tmp_path / "a.sqlite"
    given = params(path)
    label_all(path, next_questions(given, 0, root, log=silent), lambda question: "skip")
    with pytest.raises(ValueError, match="round 1 has no label to learn from: all 6 pairs"):
        run_rounds(given, 0, root, log=silent)


def test_a_file_with_other_pairs_for_this_run_is_an_error(root, tmp_path):
    path = tmp_path / "a.sqlite"
    given = params(path)
    run = open_run(given, 0, root, log=silent)
    other = next_questions(params(tmp_path / "b.sqlite"), 1, root, log=silent)
    Answers(path).ask(name_of(run), 1, other)
    with pytest.raises(AnswersError, match="has other pairs for round 1"):
        next_questions(given, 0, root, log=silent)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"oracle.labeller": ""}, "needs oracle.labeller, your name"),
        ({"oracle.answers": ""}, "needs oracle.labeller, your name, and oracle.answers"),
        ({"ceiling": "matching", "strategy": "random"}, "human with ceiling is impossible"),
        ({"processes": 2}, "human with processes above 1 is impossible"),
        ({"oracle.after_first": "coin"}, "human with oracle.after_first is impossible"),
        ({"replay": True}, "human with replay is impossible"),
    ],
)
def test_what_cannot_be_answered_by_a_person_is_an_error_before_any_work(tmp_path, more, message):
    with pytest.raises(ParamsError, match=message):
        params(tmp_path / "a.sqlite", **more)


def test_a_batch_without_a_person_is_an_error_before_any_work(tmp_path):
    profile = tmp_path / "mine.yaml"
    text = (load_params.__globals__["PROFILES"] / "smoke.yaml").read_text()
    profile.write_text(text + "\noracle: {kind: human, labeller: ada, answers: a.sqlite}\n")
    with pytest.raises(ParamsError, match="a batch has no person to ask"):
        check(str(profile))
