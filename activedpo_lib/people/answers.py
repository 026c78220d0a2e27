"""What people were asked and what they answered, in one SQLite file: append-only, shared by several
labellers at a time, and whole after any crash.

A label is kept once for a pair and labeller; an undo is a mark on the row, never a deletion. Each
call opens a connection of its own: JupyterLab runs a widget's handlers on another thread.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pandas as pd

from activedpo_lib.records import Pair

Answer = Literal["first", "second", "tie", "skip"]
ANSWERS: tuple[str, ...] = get_args(Answer)
BUSY = 30.0  # seconds to wait for another labeller's write

SCHEMA = """
CREATE TABLE IF NOT EXISTS asked (
    run TEXT NOT NULL, round INTEGER NOT NULL, place INTEGER NOT NULL, pair TEXT NOT NULL,
    prompt TEXT NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (run, round, place));
CREATE TABLE IF NOT EXISTS labellers (
    name TEXT PRIMARY KEY, who TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, pair TEXT NOT NULL,
    labeller TEXT NOT NULL REFERENCES labellers (name),
    answer TEXT NOT NULL CHECK (answer IN ('first', 'second', 'tie', 'skip')),
    shown_left TEXT NOT NULL CHECK (shown_left IN ('first', 'second')),
    seconds REAL NOT NULL, at TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS once ON answers (pair, labeller) WHERE undone = 0;
CREATE TRIGGER IF NOT EXISTS kept BEFORE DELETE ON answers
    BEGIN SELECT RAISE (ABORT, 'answers are never deleted: undo them'); END;
"""


class AnswersError(RuntimeError):
    """The file of answers cannot be used as asked; nothing in it was changed."""


class Question(NamedTuple):
    """A pair as a person sees it. pair: its name; why: what the strategy saw in it, hidden until it
    is answered.
    """

    pair: str
    prompt: str
    first: str
    second: str
    why: str = ""


class Given(NamedTuple):
    """One answer as it is stored: which response was preferred, and which was shown on the left."""

    pair: str
    labeller: str
    answer: Answer
    shown_left: Literal["first", "second"]
    seconds: float


def pair_name(pair: Pair) -> str:
    """A pair's name, 16 hex digits: of its prompt's id and text and both responses."""
    parts = (pair.prompt.id, pair.prompt.text, pair.first.text, pair.second.text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Answers:
    """The file `path`, made where it is missing. Raises AnswersError where it is something else."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as file:
            file.execute("PRAGMA journal_mode = WAL")
            file.executescript(SCHEMA)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on the disk when the block ends, or none."""
        file = sqlite3.connect(self.path, timeout=BUSY)
        try:
            file.execute("PRAGMA synchronous = FULL")
            file.execute("PRAGMA foreign_keys = ON")
            with file:
                yield file
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise AnswersError(
                f"{self.path} cannot be used as a file of answers ({error}): name another file, or "
                "bring a copy of this one back; what was answered before is not touched"
            ) from error
        finally:
            file.close()

    def ask(self, run: str, round: int, questions: Sequence[Question]) -> None:
        """Put a round's questions, in order. Asking the same again changes nothing; raises
        AnswersError where this run's round has others: labels are never read for other pairs.
        """
        rows = [(run, round, place, *question) for place, question in enumerate(questions)]
        with self._open() as file:
            there = self._asked(file, run, round)
            if not there:
                file.executemany("INSERT INTO asked VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            elif [q.pair for q in there] != [q.pair for q in questions]:
                raise AnswersError(
                    f"{self.path} has other pairs for round {round} of the run {run} than the ones "
                    "picked now: it belongs to another run, or to other code; name another file as "
                    "oracle.answers"
                )

    def asked(self, run: str, round: int) -> list[Question]:
        """The questions of a run's round, in order; none where it was never asked."""
        with self._open() as file:
            return self._asked(file, run, round)

    @staticmethod
    def _asked(file: sqlite3.Connection, run: str, round: int) -> list[Question]:
        wanted = "pair, prompt, first, second, why"
        found = file.execute(
            f"SELECT {wanted} FROM asked WHERE run = ? AND round = ? ORDER BY place", (run, round)
        )
        return [Question(*row) for row in found]

    def enter(self, labeller: str, who: str = "") -> None:
        """Register a labeller by name; who: the person's account, this one's by default. Raises
        AnswersError for an empty name, or one that another account has.
        """
        who = who or getpass.getuser()
        if not labeller.strip():
            raise AnswersError("a labeller needs a name, as in labeller='ada'")
        with self._open() as file:
            file.execute("INSERT OR IGNORE INTO labellers VALUES (?, ?)", (labeller, who))
            known = file.execute("SELECT who FROM labellers WHERE name = ?", (labeller,))
            if (owner := known.fetchone()[0]) != who:
                raise AnswersError(
                    f"the labeller {labeller} of {self.path} is {owner}, and you are {who}: two "
                    "people under one name could not be told apart; take another name"
                )

    def give(self, given: Given) -> bool:
        """Store one answer; False, and nothing stored, where the labeller has answered this pair
        (another tab was quicker). On the disk when this returns.
        """
        if given.answer not in ANSWERS:
            raise ValueError(f"an answer is one of {', '.join(ANSWERS)}, got {given.answer!r}")
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        names = "pair, labeller, answer, shown_left, seconds, at"
        with self._open() as file:
            done = file.execute(
                f"INSERT OR IGNORE INTO answers ({names}) VALUES (?, ?, ?, ?, ?, ?)", (*given, now)
            )
            return done.rowcount == 1

    def undo(self, labeller: str, pairs: Sequence[str]) -> str | None:
        """Mark the labeller's last answer among `pairs` as undone; returns the pair, or None where
        there is none.
        """
        marks = ", ".join("?" * len(pairs))
        last = f"labeller = ? AND undone = 0 AND pair IN ({marks}) ORDER BY id DESC LIMIT 1"
        with self._open() as file:
            found = file.execute(
                f"SELECT id, pair FROM answers WHERE {last}", (labeller, *pairs)
            ).fetchone()
            if not found:
                return None
            file.execute("UPDATE answers SET undone = 1 WHERE id = ?", (found[0],))
            return found[1]

    def by(self, labeller: str, pairs: Sequence[str] | None = None) -> dict[str, Given]:
        """{pair: Given} of a labeller's answers that stand; of `pairs` alone, if given."""
        with self._open() as file:
            found = file.execute(
                "SELECT pair, labeller, answer, shown_left, seconds FROM answers "
                "WHERE labeller = ? AND undone = 0 ORDER BY id",
                (labeller,),
            ).fetchall()
        wanted = None if pairs is None else set(pairs)
        return {row[0]: Given(*row) for row in found if wanted is None or row[0] in wanted}

    def labellers(self) -> list[str]:
        """The labellers' names, sorted."""
        with self._open() as file:
            return [name for (name,) in file.execute("SELECT name FROM labellers ORDER BY name")]

    def table(self) -> pd.DataFrame:
        """Every answer ever given, undone ones too, one a row, in order."""
        with self._open() as file:
            return pd.read_sql_query("SELECT * FROM answers ORDER BY id", file)
