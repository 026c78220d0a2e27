"""The file of answers: append-only, idempotent, shared by threads, whole after a kill."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest
from people_cases import questions

from activedpo_lib.people.answers import Answers, AnswersError, Given, pair_name
from activedpo_lib.records import Pair, Prompt, Response


def given(pair="pair0", labeller="ada", answer="first"):
    return Given(pair, labeller, answer, "second", 1.5)


@pytest.fixture
def answers(tmp_path):
    found = Answers(tmp_path / "labels" / "answers.sqlite")
    found.enter("ada")
    return found


def test_what_was_asked_and_answered_comes_back(answers):
    answers.ask("run", 1, questions())
    assert answers.asked("run", 1) == questions()
    assert answers.asked("run", 2) == []
    assert answers.give(given())
    assert Answers(answers.path).by("ada") == {"pair0": given()}


def test_a_pair_is_answered_once_by_a_labeller_and_by_each_labeller(answers):
    assert answers.give(given(answer="first"))
    assert not answers.give(given(answer="second"))
    assert answers.by("ada")["pair0"].answer == "first"
    answers.enter("bob")
    assert answers.give(given(labeller="bob", answer="second"))
    assert answers.by("bob")["pair0"].answer == "second"
    assert answers.labellers() == ["ada", "bob"]


def test_undo_marks_the_last_answer_and_deletes_nothing(answers):
    for pair in ("pair0", "pair1"):
        answers.give(given(pair))
    assert answers.undo("ada", ["pair0"]) == "pair0"
    assert list(answers.by("ada")) == ["pair1"]
    assert answers.give(given("pair0", answer="tie"))
    assert answers.by("ada")["pair0"].answer == "tie"
    assert answers.table()["undone"].tolist() == [1, 0, 0]
    assert answers.undo("ada", ["pair7"]) is None
    with pytest.raises(sqlite3.IntegrityError, match="never deleted"), answers._open() as file:
        file.execute("DELETE FROM answers")


def test_a_round_asked_again_is_the_same_or_an_error(answers):
    answers.ask("run", 1, questions())
    answers.ask("run", 1, questions())
    assert len(answers.asked("run", 1)) == 6
    with pytest.raises(AnswersError, match="has other pairs for round 1 of the run run"):
        answers.ask("run", 1, questions()[::-1])
    assert answers.asked("run", 1) == questions()


def test_an_unknown_answer_a_nameless_or_a_taken_labeller_are_errors(answers):
    with pytest.raises(ValueError, match="an answer is one of first, second, tie, skip"):
        answers.give(given(answer="both"))
    with pytest.raises(AnswersError, match="needs a name"):
        answers.enter("  ")
    with pytest.raises(AnswersError, match=r"two\s+people under one name"):
        answers.enter("ada", who="someone@else")
    answers.enter("ada")


def test_a_file_that_is_no_database_or_a_broken_one_is_an_error_and_stays(tmp_path, answers):
    other = tmp_path / "notes.txt"
    other.write_text("not a database " * 100)
    with pytest.raises(AnswersError, match="cannot be used as a file of answers"):
        Answers(other)
    assert other.read_text().startswith("not a database")
    answers.give(given())
    whole = answers.path.read_bytes()
    answers.path.write_bytes(b"garbage" + whole[7:])
    with pytest.raises(AnswersError, match="bring a copy"):
        Answers(answers.path)


def test_threads_and_labellers_write_at_once_and_nothing_is_lost(answers):
    names = [f"labeller{at}" for at in range(4)]

    def work(name):
        answers.enter(name)
        for at in range(20):
            answers.give(given(f"pair{at}", name))

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(answers.by(name)) for name in names] == [20] * 4


def test_what_was_said_to_be_stored_survives_a_kill(tmp_path):
    path = tmp_path / "answers.sqlite"
    program = f"""
        from activedpo_lib.people.answers import Answers, Given
        answers = Answers({str(path)!r})
        answers.enter("ada")
        for at in range(10_000):
            answers.give(Given(f"pair{{at}}", "ada", "first", "first", 0.1))
            print(at, flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = [process.stdout.readline() for _ in range(17)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    kept = Answers(path).by("ada")
    assert len(said) <= len(kept) <= len(said) + 1  # one may be stored and not yet said
    assert list(kept)[: len(said)] == [f"pair{at}" for at in range(len(said))]


def test_a_full_disk_is_an_error_and_the_earlier_answers_stay(answers):
    answers.give(given())
    with answers._open() as file:
        pages = file.execute("PRAGMA page_count").fetchone()[0]
    opened = answers._open

    @contextlib.contextmanager
    def full():
        with opened() as file:
            file.execute(f"PRAGMA max_page_count = {pages}")
            yield file

    answers._open = full
    with pytest.raises(AnswersError, match="full"):
        answers.give(given("pair1", answer="tie")._replace(pair="p" * 100_000))
    answers._open = opened
    assert answers.by("ada") == {"pair0": given()}


def test_a_pairs_name_is_of_its_texts():
    def pair(first, second, prompt="p"):
        texts = Response("p", (1,), first), Response("p", (2,), second)
        return Pair(Prompt("p", prompt), (3,), *texts)

    names = {pair_name(p) for p in (pair("a", "b"), pair("b", "a"), pair("a", "b", "q"))}
    assert len(names) == 3
    assert pair_name(pair("a", "b")) == pair_name(pair("a", "b"))
