"""The page of a tenant's live tail: from where the browser reads, and with what ticket."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ingest.tail_tickets import read_ticket
from tenants.models import Tenant

pytestmark = pytest.mark.django_db


def page_of(name: str) -> str:
    return reverse("console:tenant_tail", args=[name])


def address_of(name: str) -> str:
    return reverse("console:tenant_tail_address", args=[name])


@pytest.fixture(autouse=True)
def _listens(settings: Settings) -> None:
    settings.FOREBAY_LISTEN_PORT, settings.FOREBAY_LISTEN_URL = 8001, ""


@pytest.mark.parametrize(
    ("host", "chosen", "origin", "path"),
    [
        ("logs.example.com:8000", "", "http://logs.example.com:8001", ""),
        ("[::1]:8000", "", "http://[::1]:8001", ""),
        ("logs.example.com", "https://live.example.com", "https://live.example.com", ""),
        # A path there would have to be the whole one of a request.
        ("logs.example.com", "https://example.com:8443/live", "https://example.com:8443", "/live"),
    ],
)
def test_the_page_may_ask_the_listen_process_and_nobody_else(
    console: Client, acme: Tenant, settings: Settings, host: str, chosen: str, origin: str, path: str
) -> None:
    settings.ALLOWED_HOSTS, settings.FOREBAY_LISTEN_URL = ["*"], chosen

    page = console.get(page_of("acme"), headers={"host": host})
    told = console.get(address_of("acme"), headers={"host": host}).json()

    assert f"connect-src 'self' {origin};" in page.headers["Content-Security-Policy"] + ";"
    assert told["url"].startswith(f"{origin}{path}/api/logs/tail?ticket=")


def test_the_address_has_a_ticket_of_this_tenant_and_the_filters(console: Client, acme: Tenant) -> None:
    answer = console.get(address_of("acme"), {"level": "ERROR", "source": "check*"})
    said = parse_qs(urlsplit(answer.json()["url"]).query)

    assert read_ticket(said["ticket"][0]).tenant == "acme"
    assert (said["level"], said["source"]) == (["ERROR"], ["check*"])
    assert "no-store" in answer.headers["Cache-Control"]


def test_a_level_that_is_none_is_not_asked_for(console: Client, acme: Tenant) -> None:
    answer = console.get(address_of("acme"), {"level": "LOUD"})

    assert set(parse_qs(urlsplit(answer.json()["url"]).query)) == {"ticket"}


def test_without_a_listen_process_the_page_says_what_to_set(console: Client, acme: Tenant, settings: Settings) -> None:
    settings.FOREBAY_LISTEN_PORT = 0

    page = console.get(page_of("acme"))

    assert "FOREBAY_LISTEN_PORT" in page.content.decode()
    assert "data-tail=" not in page.content.decode()


def test_nobody_has_a_tail_of_a_tenant_that_is_none(console: Client) -> None:
    assert console.get(page_of("nobody")).status_code == 404
    assert console.get(address_of("nobody")).status_code == 404
