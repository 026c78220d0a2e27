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
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from activedpo_lib.schema import MADE_HERE, Params

if TYPE_CHECKING:
    import pandas as pd

LIBRARY = Path(__file__).resolve().parent
HOME = LIBRARY.parent  # the checkout's root; site-packages where the library is installed
IN_CHECKOUT = (HOME / "params" / "tiny.yaml").is_file()
PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "numpy")
# Parameters that may name a file or folder of the user's, and the names that mean none.
NAMED = {
    "task": ("sft", "comparisons", "prompts", "sft_subset", "pool_subset", "reward_model"),
    "model": ("base",),
    "evaluation": ("evaluator",),
}
OWN_NAMES = {*MADE_HERE, "trained"}
# The rooms that make results, with the data they ship; what reads or draws results is not in a key.
RESULTS = ("*.py", "method/**/*.py", "tasks/**/*.py", "runs/**/*.py", "assets/*.json")


def locate(path: Path | str) -> Path:
    """A user's path: absolute, or from the checkout's root (notebooks run in notebooks/); where the
    library is installed, from the current directory.
    """
    return (HOME if IN_CHECKOUT else Path.cwd()) / Path(path).expanduser()


class DiskFull(OSError):
    """The disk has no room for a result; what was finished before is intact."""


class RunHeld(RuntimeError):
    """Another process works on the same run."""


@contextlib.contextmanager
def _naming_a_full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # safetensors has an error of its own for it
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if not full and "No space left" not in str(error):
            raise
        raise DiskFull(
            errno.ENOSPC,
            f"no space left on the disk of {path.parent}: free some, or name another folder as "
            "root, then start the same command again; what was finished before is intact",
        ) from None


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file for this process; False where another has it. The lock dies with its
    process, however it ends.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def locked(path: Path | str, patience: float = 15.0) -> Iterator[IO[str]]:
    """Hold the lock beside `path` inside the block; yields its open file. The lock dies with its
    process, or the last that inherited the file, however that ends.

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
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        lock.write(f"process {os.getpid()} on {socket.gethostname()} since {since}")
        lock.flush()
        yield lock


def sweep(folder: Path | str) -> None:
    """Remove what a killed process left half-written in `folder`; for whoever holds its lock."""
    for leftover in Path(folder).glob(".*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def write_folder(path: Path | str) -> Iterator[Path]:
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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
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


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, whole."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path | str) -> Any:
    """The value of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: Path | str, table: "pd.DataFrame") -> None:
    """Write a tidy pandas table as CSV, whole."""
    write_text(path, table.to_csv(index=False, float_format="%.6g"))


@functools.cache
def source_digest(library: Path = LIBRARY) -> str:
    """The SHA-256, 8 hex digits, of the code that makes results and of the shipped models'
    manifest: results of other code are not reused.
    """
    digest = hashlib.sha256()
    for file in sorted(file for pattern in RESULTS for file in library.glob(pattern)):
        digest.update(file.relative_to(library).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:8]


def content_key(params: Params, *parts: str) -> str:
    """12 hex digits over the named parts of `params` (all of them without a name), the contents of
    the user's files and folders that those parts name, and the code that makes results.

    A model or dataset of the hub counts by its name: its contents are the hub's to keep.
    """
    digest = hashlib.sha256(f"{params.digest(*parts)} {source_digest()}".encode())
    for part in parts or NAMED:
        for field in NAMED.get(part, ()):
            name = getattr(getattr(params, part), field)
            if name and name not in OWN_NAMES and locate(name).exists():
                digest.update(f"{part}.{field}".encode() + contents_digest(locate(name)))
    return digest.hexdigest()[:12]


def contents_digest(path: Path | str) -> bytes:
    """The SHA-256, 32 bytes, of a file's bytes, or of a folder's files by name and bytes; what is
    hidden in a folder (a downloader's notes) does not count.

    Every byte is read, once a process and state of the file: 1.2 s a GB.
    """
    path, digest = Path(path), hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            state = file.stat()
            found = _file_digest(file, state.st_size, state.st_mtime_ns)
            digest.update(name.as_posix().encode() + b"\0" + found)
    return digest.digest()


@functools.lru_cache(maxsize=4096)
def _file_digest(file: Path, _size: int, _mtime_ns: int) -> bytes:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def provenance(params_digest: str, seed: int) -> dict[str, Any]:
    """What a result came from: params, seed, packages, code, git commit (None outside a clone)."""
    return {
        "params": params_digest,
        "seed": seed,
        "code": source_digest(),
        "commit": _git_commit(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


@functools.cache
def _git_commit() -> str | None:
    command = ["git", "-C", str(LIBRARY), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()
