"""Shared by the tests: small policies, pools, and one thread, so that sums come out the same."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from activedpo_lib.method import adapters, models
from activedpo_lib.records import Prompt
from activedpo_lib.streams import stream
from activedpo_lib.tasks.words import vocabulary

torch.set_num_threads(1)
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def make_policy(family="llama", seed=0, trained=True, dtype=torch.float32):
    """A small random policy with an adapter; `trained` gives the adapter a B that is not zero."""
    base = models.new_policy(
        family, models.PolicySize(338, 32, 2, 4), stream=stream(seed, "base")
    ).to(dtype)
    policy = adapters.with_adapter(
        base, adapters.lora_config(4, 16, TARGETS), stream=stream(seed, "adapter")
    )
    if trained:
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.data = (0.05 * torch.randn(parameter.shape, generator=generator)).to(
                    parameter.dtype
                )
    return policy


def make_sequences(count, seed=0):
    """`count` prompts and responses of different lengths as token ids, the shortest response a lone
    EOS.
    """
    rng = stream(seed, "sequences").numpy()
    prompts = [tuple(map(int, rng.integers(3, 338, rng.integers(2, 20)))) for _ in range(count)]
    responses = [(*map(int, rng.integers(3, 338, i % 9)), 1) for i in range(count)]
    return prompts, responses


@pytest.fixture(params=["llama", "gemma"])
def policy(request):
    return make_policy(request.param)


@pytest.fixture(scope="session")
def tokenizer():
    return models.word_tokenizer(vocabulary())


@pytest.fixture
def prompts():
    words = vocabulary()
    rng = stream(0, "prompts").numpy()
    return [
        Prompt(f"p{i}", " ".join(words[j] for j in rng.integers(0, 300, 3 + i % 7)))
        for i in range(12)
    ]


HOME = Path(__file__).resolve().parent.parent


@pytest.fixture
def copy_of_project(tmp_path):
    """(folder, environment): the project without its results, to be run and killed there by other
    processes.
    """
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (HOME / name).is_file():
            (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOME / name, tmp_path / "project" / name)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "project"), "OMP_NUM_THREADS": "1"}
    return tmp_path / "project", environment


def pytest_collection_modifyitems(items):
    """The smoke pipeline first: it is the longest, and one process runs it (`--dist loadfile`)."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


CHROMIUM = shutil.which("chromium")  # how to install it: CONTRIBUTING.md


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def lab(tmp_path, browser):
    """The address of a JupyterLab that is up and shows the test's own folder: of its notebook
    `name`, `lab(name)`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", f"--ServerApp.root_dir={tmp_path}",
        "--IdentityProvider.token=t", *(["--allow-root"] if os.getuid() == 0 else []),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(HOME), "JUPYTER_CONFIG_DIR": str(tmp_path / "c")}
    with open(tmp_path / "lab.log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=t", timeout=2)
                break
            time.sleep(0.5)
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?token=t"
    finally:
        server.terminate()
        server.wait(20)
