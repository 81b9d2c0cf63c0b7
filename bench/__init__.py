"""Measurements of Forebay on real services; `python -m bench` and `python -m bench.profile` tell what they do."""

import sys
from pathlib import Path

# These programs run without manage.py, which would do this (ADR 0001).
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "clients" / "python" / "src")]
