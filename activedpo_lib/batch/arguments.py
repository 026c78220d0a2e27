"""Arguments of the commands: each is checked before work starts; a bad one is one line and exit
status 2.
"""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from activedpo_lib.params import ParamsError, load_grid
from activedpo_lib.store import HOME
from activedpo_lib.study.notebooks import ALL, ALONE
from activedpo_lib.tasks.files import DataError

READER_LEFT = 128 + 13  # the status of a process that SIGPIPE ended


class BadArgument(ValueError):
    """An argument cannot be used. The message says what was expected, what came, the remedy."""


class Arguments(argparse.ArgumentParser):
    """A parser whose errors are BadArgument, without the usage before them."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse for whatever it cannot take."""
        raise BadArgument(f"{message}; `{self.prog} --help` lists what it takes")


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """`main(arguments) -> exit status`, with bad input told in one line `error: ...`, status 2. A
    reader of its lines that has seen enough, as `head` has, ends it without a traceback.
    """

    @functools.wraps(main)
    def told(arguments: Sequence[str] | None = None) -> int:
        try:
            status = main(arguments)
            sys.stdout.flush()
            return status
        except BrokenPipeError:
            if not _nobody_reads():
                raise  # another pipe broke
            return READER_LEFT
        except (BadArgument, ParamsError, DataError) as error:
            print("error:", " ".join(str(error).split()), file=sys.stderr)
            return 2

    return told


def _nobody_reads() -> bool:
    """Is stdout a pipe whose reader has left? It is then closed to what is still to be written."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def need_checkout() -> None:
    """Raise BadArgument where the library is installed without its repository: a batch runs the
    notebooks and the Snakefile of a checkout.
    """
    if not (HOME / "Snakefile").is_file():
        raise BadArgument(
            f"expected a checkout, with Snakefile and notebooks/, at {HOME}, found an installed "
            "library; clone the repository and run `make` there, or call run_rounds from Python"
        )


def whole_number(least: int, otherwise: str) -> Callable[[str], int]:
    """An argument's type: a whole number of at least `least`; otherwise: the remedy, as text."""

    def number(text: str) -> int:
        if not text.strip().isascii() or not text.strip().isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {least}, got {text!r}; {otherwise}"
            )
        return int(text)

    return number


seeds = whole_number(1, "leave it out for the profile's own number of seeds")


def cores(text: str) -> str:
    """How many jobs run at once: "all", or a whole number of at least 1."""
    return text if text == "all" else str(whole_number(1, "or `all` for every core")(text))


def profile(text: str) -> str:
    """A profile's name in params/, or the full path of its YAML file (notebooks run elsewhere)."""
    try:
        load_grid(text)
    except ParamsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return str(Path(text).resolve()) if text.endswith((".yaml", ".yml")) else text


def cluster(text: str) -> str:
    """The full path of a folder with Snakemake's settings for a cluster."""
    if not any(Path(text).glob("config*.yaml")):
        raise argparse.ArgumentTypeError(
            f"expected a folder with Snakemake's config.yaml, as cluster/slurm, got {text!r}; "
            "leave it out to run on this machine"
        )
    return str(Path(text).resolve())


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The argument `profile`, tiny by default."""
    parser.add_argument("profile", nargs="?", default="tiny", type=profile)


def add_batch(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what a batch is: profile, --seeds, and what it makes, as `target`."""
    add_profile(parser)
    parser.add_argument("--seeds", type=seeds, help="how many; the profile's own number by default")
    targets = parser.add_mutually_exclusive_group()
    for flag, target, what in (
        ("studies", ALL, "the studies of `make all-figures` too, not only Figures 1 and 5"),
        *((name, name, f"{what}, alone") for name, what in ALONE.items()),
    ):
        targets.add_argument(
            f"--{flag}", dest="target", action="store_const", const=target, default="all", help=what
        )
