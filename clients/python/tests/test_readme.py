"""The README's examples run as they stand, but for the address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stub import Stub

from forebay_client import Client

README_FILE = Path(__file__).parent.parent / "README.md"
README = README_FILE.read_text()
EXAMPLES: list[str] = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS: list[str] = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# What each example is told by, and how many events it sends.
CASES = {
    'addHandler(ForebayHandler("http': 1,
    "send_callback": 3,
    "AsyncClient": 101,
    "correlated": 1,
    "celery.connect": 0,
    "MIDDLEWARE": 0,
    "import structlog": 1,
}
PATHS = os.pathsep.join(path for path in sys.path if path)


def example(mark: str) -> str:
    (found,) = [text for text in EXAMPLES if mark in text]
    return found


def test_every_example_is_tried() -> None:
    assert len(EXAMPLES) == len(CASES)
    assert [sum(mark in text for mark in CASES) for text in EXAMPLES] == [1] * len(EXAMPLES)


@pytest.mark.parametrize("mark", CASES)
def test_an_example_runs_and_its_events_arrive(stub: Stub, mark: str) -> None:
    code = example(mark).replace("http://127.0.0.1:8000", stub.url)

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": PATHS,
            "FOREBAY_URL": stub.url,
            "FOREBAY_KEY": "fb_example",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert len(stub.events) == CASES[mark]


def test_the_command_for_files_sends_their_lines(stub: Stub, tmp_path: Path) -> None:
    (command,) = COMMANDS
    script = tmp_path / "forebay"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m forebay_client "$@"\n')
    script.chmod(0o755)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.log.1").write_text("first\n")
    (logs / "app.log").write_text("second\nthird\n")

    done = subprocess.run(
        ["/bin/sh", "-e", "-c", command.replace("http://127.0.0.1:8000", stub.url)],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}{os.pathsep}{os.defpath}", "PYTHONPATH": PATHS, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert sorted(event["message"] for event in stub.events) == ["first", "second", "third"]


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)

    assert links
    assert [link for link in links if not (README_FILE.parent / link).exists()] == []


def test_every_option_is_in_the_table() -> None:
    named = set(re.findall(r"`(\w+)`", README))
    variables = Client.__init__.__code__
    options = variables.co_varnames[1 : variables.co_argcount + variables.co_kwonlyargcount]

    assert [option for option in options if option not in named] == []
