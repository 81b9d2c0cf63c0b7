"""The runbook as the console shows it: the whole file, no mark of Markdown left over, nothing in it that acts."""

import re
from html import unescape
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ingest.alerts.kinds import Kind
from ingest.console.runbook import runbook_of
from ingest.console.runbook_text import Section, anchor_of, sections_of

FILE = Path(__file__).parents[3] / "docs" / "runbook.md"
MARKS = re.compile(r"\*\*|`|\]\(|^\||^#|^\d+\. ", re.M)


def sections() -> list[Section]:
    return sections_of(FILE.read_text())


def text_of(section: Section) -> str:
    return unescape(re.sub(r"<[^>]+>", "", section.html))


def test_every_alert_has_a_section_under_its_name_with_steps() -> None:
    by_anchor = {section.anchor: section for section in sections()}

    for kind in Kind:
        assert '<ol class="fb-steps">' in by_anchor[kind].html, kind


def test_no_mark_is_left_over_and_no_word_is_lost() -> None:
    shown = "\n".join(text_of(section) for section in sections())

    assert MARKS.findall(shown) == []
    words = re.findall(r"[A-Za-z_]{4,}", re.sub(r"\]\([^)]*\)", "]", FILE.read_text()))
    text = " ".join([shown, *(section.title for section in sections())])
    assert [word for word in words if word not in text and word != "console"] == []  # of a fence's first line


def test_every_link_within_the_page_leads_to_a_section() -> None:
    found = sections()
    links = re.findall(r'href="([^"]*)"', "".join(section.html for section in found))

    assert len(links) > 20
    assert {link.removeprefix("#") for link in links} <= {section.anchor for section in found}


def test_a_heading_has_the_anchor_that_links_to_it_use() -> None:
    assert anchor_of("The journal's disk is full") == "the-journals-disk-is-full"
    assert anchor_of("topic_behind") == "topic_behind"


def test_a_link_to_another_file_is_its_text_and_what_looks_like_html_stays_text() -> None:
    (section,) = sections_of("# One\nsee [deploy.md](deploy.md#celery) <b>, as [`topic_parked`](#topic_parked)")

    assert section.html.strip() == (
        '<p>see deploy.md &lt;b&gt;, as <a href="#topic_parked"><code class="fb-code">topic_parked</code></a></p>'
    )


def test_an_alert_leads_to_the_settings_runbook_if_that_is_on_the_web(settings: Settings) -> None:
    settings.FOREBAY_RUNBOOK_URL = "https://wiki.example.com/runbook"
    elsewhere = runbook_of("redis_away")
    settings.FOREBAY_RUNBOOK_URL = "docs/runbook.md"

    assert elsewhere == "https://wiki.example.com/runbook#redis_away"
    assert runbook_of("redis_away") == "/admin/runbook/#redis_away"


@pytest.mark.django_db
def test_whoever_may_see_alerts_reads_it(client: Client, settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    viewer = User.objects.create_user("eve", is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)

    page = client.get(reverse("console:runbook")).content.decode()

    assert 'id="topic_parked"' in page
    assert '<code class="fb-code">manage.py topic parked</code> lists all with code and since when.' in page
    assert '<a href="#buffer_filling">buffer_filling</a>' in page
