"""Applications that adopt the client, as programs of their own: they log, fork, end or are killed."""

import os
import sys
from pathlib import Path

from forebay.local.command import Command
from tests.clients.conftest import Served
from tests.node import ROOT
from tests.programs import Program

BEGIN = """
import logging, os, sys, time
from forebay_client import ForebayHandler
handler = ForebayHandler(source="shop", spool_dir=os.environ.get("SPOOL_DIR"), exit_timeout_s=60)
logging.getLogger().addHandler(handler)
logging.getLogger().setLevel("INFO")
"""


def start(served: Served, code: str, log: Path, **environment: str) -> Program:
    """A Python program with a handler on its root logger, of which the code is the rest."""
    return Program(Command([sys.executable, "-c", BEGIN + code], ROOT, surroundings(served) | environment), log)


def surroundings(served: Served) -> dict[str, str]:
    """The environment that the client needs."""
    paths = os.pathsep.join([str(ROOT / "clients" / "python" / "src"), str(ROOT)])
    return {"PYTHONPATH": paths, "FOREBAY_URL": served.node.url, "FOREBAY_KEY": served.key}
