"""Models by hub name: a local folder, or a snapshot of the hub's safetensors, without code and
without pickles.

`python -m activedpo_lib.runs.model_hub NAME FOLDER` downloads a model once, and turns weights that
the hub has only as a pickle into safetensors: on a machine with access, for all those without.
"""

import argparse
import pickle
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors.torch import save_file

from activedpo_lib.store import locate

NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
FILES = ["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]
# The same weights again in their makers' own layout (Mistral, Llama).
TWICE = ["consolidated*", "original/*"]


def model_folder(name: Path | str) -> Path:
    """The local folder of a model: a path as it is, or the snapshot of a hub name.

    Raises FileNotFoundError naming what is missing and the remedy where the hub does not give it.
    """
    if locate(name).is_dir() or not NAME.fullmatch(str(name)):
        return locate(name)
    return _snapshot(str(name), FILES)


def _snapshot(name: str, files: list[str]) -> Path:
    try:
        wanted = {"allow_patterns": files, "ignore_patterns": TWICE}
        return Path(snapshot_download(name, etag_timeout=10, **wanted))
    except GatedRepoError:
        licence = f"huggingface.co/{name}"
        login = "log in (`hf auth login`, or set HF_TOKEN)"
        why = f"it is gated: accept its licence at {licence}, then {login}"
    except RepositoryNotFoundError:
        why = "the hub has no such model, or it is private: check the name, `hf auth login`"
    except LocalEntryNotFoundError:
        why = "the hub cannot be reached, and it was never downloaded here"
    except (HfHubHTTPError, OSError) as error:
        why = f"the hub cannot be reached ({type(error).__name__})"
    raise FileNotFoundError(
        f"the model {name} is not at hand: {why}; or run "
        f"`python -m activedpo_lib.runs.model_hub {name} models/{name.split('/')[1]}` on a machine "
        "with access, "
        "and name that folder in the profile"
    )


def fetch(name: str, folder: Path | str) -> Path:
    """Bring the model `name` (a hub name or a folder) to `folder`; weights that are only a pickle
    are read as plain tensors.

    Raises ValueError where the pickle holds anything else.
    """
    local = locate(name).is_dir()
    if not local and not NAME.fullmatch(name):
        raise FileNotFoundError(f"{name} is no folder, and no hub name (OWNER/MODEL)")
    source = locate(name) if local else _snapshot(name, [*FILES, "*.bin"])
    if not any(file.suffix in {".bin", ".safetensors"} for file in source.iterdir()):
        raise FileNotFoundError(f"{source} has no weights: neither *.safetensors nor *.bin")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.suffix != ".bin" and file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    if not any(folder.glob("*.safetensors")):
        tensors: dict[str, torch.Tensor] = {}
        for file in sorted(source.glob("*.bin")):
            tensors |= _plain_tensors(file)
        # Tied weights share memory, which safetensors does not store.
        save_file(
            {key: value.clone().contiguous() for key, value in tensors.items()},
            folder / "model.safetensors",
        )
    return folder


def _plain_tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(
            file, map_location="cpu", weights_only=True
        )  # runs no code of the pickle's
    except pickle.UnpicklingError:
        raise ValueError(
            f"{file} holds more than tensors: it is not read, for a pickle can run code"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 2 where the model cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m activedpo_lib.runs.model_hub", description=__doc__.split("\n\n")[1]
    )
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    try:
        print(f"{given.name} is in {fetch(given.name, given.folder)}")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
