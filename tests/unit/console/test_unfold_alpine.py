"""django-unfold on Alpine's CSP build: what ingest/static/console/unfold.js stands on is what it was written for."""

import hashlib
import re
from importlib.metadata import version
from pathlib import Path

import unfold
from django.contrib.staticfiles import finders
from django.test import Client

_UNFOLD = Path(unfold.__file__).parent
_TEMPLATES = ("templates", "contrib/filters/templates")
_ALPINE = re.compile(r'\s((?:x-[a-z]|@|:)[\w:.-]*)="([^"]*)"')
# Before a new release gets its line: run tests/e2e/test_frame.py with it, and look whether the CSP build can read each
# new attribute (node, or the browser's console: it says "CSP Parser Error").
_LOOKED_AT = {
    "0.91.0": "202070806f4a95e2",
    "0.110.0": "1c9b3b7164e313f7",
}


def _attributes() -> list[str]:
    """What unfold's templates say to Alpine, each as it is written."""
    files = [file for folder in _TEMPLATES for file in sorted((_UNFOLD / folder).rglob("*.html"))]
    return sorted({" ".join(found) for file in files for found in _ALPINE.findall(file.read_text())})


def test_what_unfold_says_to_alpine_has_been_looked_at() -> None:
    attributes = _attributes()

    assert len(attributes) > 100
    assert hashlib.sha256("\n".join(attributes).encode()).hexdigest()[:16] == _LOOKED_AT.get(version("django-unfold"))


def test_alpine_is_the_build_that_compiles_nothing() -> None:
    found = finders.find("unfold/js/alpine/alpine.js")
    assert found is not None

    script = Path(found).read_text()

    assert "CSP Parser Error" in script
    assert "new Function" not in script
    assert "Permission is hereby granted" in Path(found).with_name("LICENSE").read_text()


def test_the_policy_allows_no_script_but_those_that_are_files(client: Client) -> None:
    policy = client.get("/nothing-here").headers["Content-Security-Policy"]

    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["script-src"] == "'self'"
    assert directives["default-src"] == "'self'"
    assert directives["object-src"] == "'none'"
