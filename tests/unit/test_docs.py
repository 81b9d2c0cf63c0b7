"""What a user can set, see or be told is in docs/, and what docs/ names exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from forebay import settings
from ingest.dataplane import errors, metrics

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
EXPOSED_SUFFIXES = ("_bucket", "_sum", "_count", "_created")


def text_of(page: str) -> str:
    """Empty for a page that is not there, so that the test tells what it would have to hold."""
    path = DOCS / page
    return path.read_text() if path.exists() else ""


def setting_names() -> set[str]:
    return set(re.findall(r"FOREBAY_[A-Z0-9_]+", Path(settings.__file__).read_text()))


def metric_names() -> set[str]:
    """As /metrics shows them: a counter's name ends in _total."""
    described = [
        family
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
    ]
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in described}


def error_codes() -> set[str]:
    classes = [thing for thing in vars(errors).values() if isinstance(thing, type) and hasattr(thing, "codes")]
    return {code for one in classes for code in one.codes}


def command_names() -> set[str]:
    return {path.stem for path in ROOT.glob("*/management/commands/*.py") if not path.stem.startswith("_")}


def unnamed(names: set[str], page: str, form: str = "`{}`") -> list[str]:
    text = text_of(page)
    return sorted(name for name in names if form.format(name) not in text)


def test_every_setting_is_documented() -> None:
    assert setting_names()
    assert unnamed(setting_names(), "settings.md") == []


def test_every_documented_setting_exists() -> None:
    documented = set(re.findall(r"`(FOREBAY_[A-Z0-9_]+)`", text_of("settings.md")))

    assert documented - setting_names() == set()


def test_every_metric_is_documented() -> None:
    assert metric_names()
    assert unnamed(metric_names(), "metrics.md") == []


def test_every_documented_metric_exists() -> None:
    documented = set(re.findall(r"`(forebay_[a-z0-9_]+)`", text_of("metrics.md")))
    exposed = {name + suffix for name in metric_names() for suffix in ("", *EXPOSED_SUFFIXES)}

    assert documented - exposed == set()


def test_every_error_code_is_documented() -> None:
    assert error_codes()
    assert unnamed(error_codes(), "errors.md") == []


def test_every_command_is_documented() -> None:
    assert command_names()
    assert unnamed(command_names(), "commands.md", "manage.py {}") == []


def anchors(page: Path) -> set[str]:
    """Of its headings, as a forge makes them: lower case, without punctuation, hyphens for blanks."""
    headings = HEADING.findall(CODE_BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(CODE_BLOCK.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []
