"""The batch engine, Snakemake: its command line, and its life as our child, told in few lines."""

import ctypes
import signal
import subprocess
import sys
import time
from pathlib import Path

from activedpo_lib.batch.gpus import cards
from activedpo_lib.batch.progress import Progress, Screen
from activedpo_lib.params import load_grid
from activedpo_lib.store import HOME
from activedpo_lib.study.notebooks import ALL


def runs_folder(profile: str) -> Path:
    """Where a profile's runs, tables and executed notebooks go, from the repository's root."""
    return Path("runs") / Path(profile).stem


def figures_folder(profile: str) -> Path:
    """Where a profile's figures go, from the repository's root; figures/ is only the committed."""
    return runs_folder(profile) / "figures"


def engine_command(
    profile: str, seeds: int, cores: str = "all", cluster: str = "", target: str = "all"
) -> list[str]:
    """The engine's command line; `cluster`: a folder with Snakemake's settings for one; target:
    a rule of the Snakefile, or a file.
    """
    card_jobs = len(cards()) * load_grid(profile).jobs_per_gpu
    command = [sys.executable, "-m", "snakemake", target, "--cores", str(cores)]
    command += ["--snakefile", str(HOME / "Snakefile"), "--directory", str(HOME)]
    command += ["--rerun-incomplete", "--keep-going", "--nolock", "--quiet", "host", "reason"]
    command += ["--resources", f"gpu={card_jobs}"] if card_jobs else []
    command += ["--workflow-profile", cluster or "none"]
    said = [f"profile={profile}", f"seeds={seeds}"]
    said += ["studies=1"] if target == ALL else []
    return [*command, "--config", *said, *([] if cluster else ["here=1"])]


def follow_engine(command: list[str], log: Path, screen: Screen | None = None) -> bool:
    """Run the engine to its end, all that it and its jobs say going to `log`; a line a finished
    job goes to the screen. Returns whether anything failed.
    """
    screen = screen or Screen()
    screen.line(f"the engine's and the notebooks' own lines: {log.relative_to(HOME)}")
    progress = Progress(screen)
    with (
        open(log, "w", encoding="utf-8") as written,
        open(log, encoding="utf-8", errors="replace") as read,
        subprocess.Popen(
            command, stdout=written, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent
        ) as engine,
    ):
        try:
            while engine.poll() is None:
                progress.read(read.read())
                time.sleep(0.3)
            progress.read(read.read())
        except BaseException:  # Ctrl-C: the jobs had it as well, and end by themselves
            engine.kill()
            raise
        finally:
            screen.clear()
    if engine.returncode and not progress.failed:
        screen.line("the engine stopped; the end of its log:")
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]:
            screen.line(f"  {line}")
    return engine.returncode != 0


def _die_with_parent() -> None:
    """The engine ends where this process is killed (Linux), instead of starting jobs beside the
    next call's engine.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
