#!/usr/bin/env python
"""Puts platform/ on sys.path: the project package is `forebay`, the standard library keeps `platform` (ADR 0001)."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "platform"))

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forebay.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
