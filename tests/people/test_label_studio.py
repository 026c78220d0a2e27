"""Questions out to a real Label Studio and its answers back (slow: it is installed first)."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from people_cases import questions

from activedpo_lib.people import exchange

pytestmark = pytest.mark.slow
TOKEN = "0123456789abcdef0123456789abcdef01234567"
VERSION = "1.23.2"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """`ask(method, path, body)` of a Label Studio that is up on this machine, with a user."""
    folder = tmp_path_factory.mktemp("studio")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", folder / "venv"]
    if subprocess.run([*pip, f"label-studio=={VERSION}"]).returncode:
        pytest.skip("Label Studio cannot be installed from the registry here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        folder / "venv" / "bin" / "label-studio", "start", "--no-browser", "--port", port,
        "--internal-host", "127.0.0.1", "--username", "ada@example.org",
        "--password", "a secret 12", "--user-token", TOKEN,
    ]  # fmt: skip
    own = {"LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"), "COLLECT_ANALYTICS": "False"}
    own |= {"LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true"}
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)

    def ask(method, path, body=None):
        sent = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return json.loads(answer.read())

    try:
        for _ in range(240):
            with contextlib.suppress(OSError):
                ask("GET", "/api/projects/")
                break
            time.sleep(1)
        else:
            pytest.fail((folder / "log").read_text()[-2000:])
        yield ask
    finally:
        server.terminate()
        server.wait(20)


def answer(selected=None, tie=False, **more):
    """An annotation as Label Studio's own interface sends it."""
    result = []
    if selected:
        result.append({"from_name": "better", "to_name": "left", "type": "pairwise",
                       "value": {"selected": selected}})  # fmt: skip
    if tie:
        result.append({"from_name": "tie", "to_name": "prompt", "type": "choices",
                       "value": {"choices": ["tie"]}})  # fmt: skip
    return {"result": result, "lead_time": 2.5, **more}


def test_pairs_go_out_are_answered_and_come_back(studio, tmp_path):
    asked = questions()
    exchange.write_label_studio(asked, tmp_path / "tasks.json")
    project = studio(
        "POST", "/api/projects/", {"title": "pairs", "label_config": exchange.LABEL_STUDIO}
    )
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    sent = studio("POST", f"/api/projects/{project['id']}/import", tasks)
    assert sent["task_count"] == len(asked)
    listed = studio("GET", f"/api/projects/{project['id']}/tasks/?page_size=100")
    number = {task["data"]["pair"]: task["id"] for task in listed}
    assert set(number) == {question.pair for question in asked}
    said = [answer("left"), answer("right"), answer(tie=True), answer(was_cancelled=True)]
    for question, one in zip(asked[:4], said, strict=True):
        studio("POST", f"/api/tasks/{number[question.pair]}/annotations/", one)
    found = studio("GET", f"/api/projects/{project['id']}/export?exportType=JSON")
    (tmp_path / "export.json").write_text(json.dumps(found))
    given = exchange.read_label_studio(tmp_path / "export.json", asked, "ada")
    answers = {one.pair: one.answer for one in given}
    wanted = zip(asked[:4], ("first", "second", "tie", "skip"), strict=True)
    assert answers == {question.pair: one for question, one in wanted}
    assert all(one.seconds == 2.5 for one in given)
