"""The README's examples run as they stand, but for the address."""

from __future__ import annotations

import importlib.util
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
# What each example is told by, and how many events it sends.
CASES = {
    'addHandler(ForebayHandler("http': 1,
    "send_callback": 3,
    "AsyncClient": 101,
    "correlated": 1,
    "celery.connect": 0,
    "MIDDLEWARE": 0,
}
# structlog is no dependency of the tests: its example is tried where it is installed.
STRUCTLOG = {"import structlog": 1}
if importlib.util.find_spec("structlog"):
    CASES.update(STRUCTLOG)


def example(mark: str) -> str:
    (found,) = [text for text in EXAMPLES if mark in text]
    return found


def test_every_example_is_tried() -> None:
    known = CASES.keys() | STRUCTLOG.keys()

    assert len(EXAMPLES) == len(known)
    assert [sum(mark in text for mark in known) for text in EXAMPLES] == [1] * len(EXAMPLES)


@pytest.mark.parametrize("mark", CASES)
def test_an_example_runs_and_its_events_arrive(stub: Stub, mark: str) -> None:
    code = example(mark).replace("http://127.0.0.1:8000", stub.url)

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
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


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)

    assert links
    assert [link for link in links if not (README_FILE.parent / link).exists()] == []


def test_every_option_is_in_the_table() -> None:
    named = set(re.findall(r"`(\w+)`", README))
    variables = Client.__init__.__code__
    options = variables.co_varnames[1 : variables.co_argcount + variables.co_kwonlyargcount]

    assert [option for option in options if option not in named] == []
