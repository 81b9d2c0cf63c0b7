#!/usr/bin/env python
"""Puts platform/ on sys.path: the project package is `forebay`, the standard library keeps `platform` (ADR 0001).

And the client's source, for `manage.py tail` is the client's own.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "clients" / "python" / "src")]

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forebay.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
