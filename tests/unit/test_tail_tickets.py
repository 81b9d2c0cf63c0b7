"""The ticket with which a page of the console reads a tenant's live tail."""

import time

import pytest
from pytest_django import Settings

from ingest import tail_tickets
from ingest.dataplane.errors import Unauthenticated
from ingest.tail_tickets import TICKET_S, issue_ticket, read_ticket


def test_a_ticket_says_whose_tail_and_how_long() -> None:
    ticket = read_ticket(issue_ticket("acme"))

    assert ticket.tenant == "acme"
    assert 0 < ticket.ends_wall_s - time.time() <= TICKET_S


def test_what_was_not_signed_here_is_refused() -> None:
    text = issue_ticket("acme")

    for forged in ("", "x", text[:-1], text.replace(":", ".", 1), f"{text}x"):
        with pytest.raises(Unauthenticated) as refused:
            read_ticket(forged)
        assert refused.value.code == "malformed_ticket"


def test_a_ticket_of_another_platform_is_refused(settings: Settings) -> None:
    text = issue_ticket("acme")
    settings.SECRET_KEY = "another"

    with pytest.raises(Unauthenticated) as refused:
        read_ticket(text)

    assert refused.value.code == "malformed_ticket"


def test_a_ticket_that_is_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_tickets, "TICKET_S", -1.0)

    with pytest.raises(Unauthenticated) as refused:
        read_ticket(issue_ticket("acme"))

    assert refused.value.code == "expired_ticket"
