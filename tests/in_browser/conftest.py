"""A real browser, and a JupyterLab for it (slow; how to install one: CONTRIBUTING.md)."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from activedpo_lib.store import HOME

CHROMIUM = shutil.which("chromium")


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
