"""Run folders: whole or absent. Everything is written aside, synced, then renamed."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent
HOME = LIBRARY.parent
PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "numpy")
# What draws pictures or starts notebooks cannot change a result.
NOT_RESULTS = {
    "plots.py",
    "study_plots.py",
    "execute.py",
    "batch.py",
    "bases.py",
    "costs.py",
    "overview.py",
    "verify.py",
    "report.py",
    "studies.py",
    "reproduce.py",
    "clusters.py",
    "probes.py",
    "theory.py",
    "distortion.py",
    "claims.py",
}


def locate(path):
    """A user's path: absolute, or from the repository's root (notebooks run in notebooks/)."""
    return HOME / Path(path).expanduser()


class DiskFull(OSError):
    """The disk has no room for a result; what was finished before is intact."""


class RunHeld(RuntimeError):
    """Another process works on the same run."""


@contextlib.contextmanager
def _naming_a_full_disk(path):
    try:
        yield
    except Exception as error:  # safetensors has an error of its own for it
        if getattr(error, "errno", None) not in (
            errno.ENOSPC,
            errno.EDQUOT,
        ) and "No space left" not in str(error):
            raise
        raise DiskFull(
            errno.ENOSPC,
            f"no space left on the disk of {Path(path).parent}: free some, or name another folder "
            "as root, then start the "
            "same command again; what was finished before is intact",
        ) from None


def try_lock(file):
    """Lock an open file for this process; False where another has it. The lock dies with its
    process, however it ends.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def locked(path, patience=15.0):
    """Hold the lock beside `path` inside the block. The lock dies with its process, however that
    ends.

    A killed notebook's kernel may live on for some seconds: waits `patience` seconds, then raises
    RunHeld naming the holder.
    """
    lock_file = Path(path).with_name(f".{Path(path).name}.lock")
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with open(lock_file, "a+", encoding="utf-8") as lock:
        end = time.monotonic() + patience
        while not try_lock(lock):
            if time.monotonic() > end:
                lock.seek(0)
                holder = lock.read().strip() or "another process"
                raise RunHeld(
                    f"{path} is held by {holder}: wait for it, or stop it and start the same "
                    "command again"
                )
            time.sleep(0.2)
        lock.truncate(0)
        lock.write(
            f"process {os.getpid()} on {socket.gethostname()} since "
            f"{time.strftime('%Y-%m-%d %H:%M:%S')}"
        )
        lock.flush()
        yield


def sweep(folder):
    """Remove what a killed process left half-written in `folder`; only for whoever holds its
    lock.
    """
    for leftover in Path(folder).glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(
            missing_ok=True
        )


@contextlib.contextmanager
def write_folder(path):
    """Yield a folder beside `path`; it becomes `path` when the block ends without an error, and is
    removed otherwise.

    Where another process finished `path` meanwhile, its folder stays and this one is dropped: both
    hold the same.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    aside.mkdir()
    try:
        with _naming_a_full_disk(path):
            yield aside
            for file in aside.rglob("*"):
                if file.is_file():
                    _sync(file)
        try:
            os.rename(aside, path)
        except OSError:
            if not path.exists():
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path, text):
    """Write a file whole: aside, synced, renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with _naming_a_full_disk(path):
            aside.write_text(text, encoding="utf-8")
            _sync(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path, value):
    """Write `value` as indented JSON, whole."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path):
    """The value of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path, table):
    """Write a tidy pandas table as CSV, whole."""
    write_text(path, table.to_csv(index=False, float_format="%.6g"))


@functools.cache
def source_digest():
    """The SHA-256 of the library's code and shipped models' manifest, 8 hex digits: results of
    other code are not reused.
    """
    digest = hashlib.sha256()
    for file in sorted([*LIBRARY.rglob("*.py"), *LIBRARY.glob("assets/*.json")]):
        if file.name not in NOT_RESULTS:
            digest.update(file.relative_to(LIBRARY).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:8]


def content_key(params, *parts):
    """12 hex digits over the named parts of `params`, the user's files and the library's code."""
    digest = hashlib.sha256(f"{params.digest(*parts)} {source_digest()}".encode())
    files = (
        (params.task.sft, params.task.comparisons, params.task.prompts)
        if params.task.source == "files"
        else ()
    )
    for path in (*files, params.task.sft_subset, params.task.pool_subset):
        if path and locate(path).is_file():
            digest.update(locate(path).read_bytes())
    return digest.hexdigest()[:12]


def provenance(params_digest, seed):
    """What a result came from: params' hash, seed, package versions, library code, git commit (None
    outside a clone).
    """
    return {
        "params": params_digest,
        "seed": seed,
        "code": source_digest(),
        "commit": _git_commit(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


@functools.cache
def _git_commit():
    command = ["git", "-C", str(LIBRARY), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
