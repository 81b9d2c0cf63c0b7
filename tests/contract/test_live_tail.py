"""The live tail as its readers meet it, by key and by a ticket of the console; Redis is away."""

import http.client
import json
from urllib.parse import urlencode

import pytest

from ingest import tail_tickets
from ingest.tail_tickets import issue_ticket
from tests.contract.cast import KEYS
from tests.contract.listening import DEADLINE_S


def test_a_tail_says_that_there_is_nothing_to_see_while_redis_is_away(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    connection.request("GET", "/api/logs/tail", headers={"X-API-Key": KEYS["acme"]})
    response = connection.getresponse()
    lines = [response.readline().decode().strip() for _ in range(4)]
    response.close()
    connection.close()

    assert response.getheader("Content-Type") == "text/event-stream"
    assert lines == ["retry: 2000", "", "event: wait", 'data: {"code":"sample_unavailable"}']


def tail_of(port: int, ticket: str) -> http.client.HTTPResponse:
    """The answer to a browser, which has a ticket and no key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    connection.request("GET", f"/api/logs/tail?{urlencode({'ticket': ticket})}")
    return connection.getresponse()


def test_a_ticket_of_the_console_opens_the_tail_to_its_page_until_it_is_over(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may need more than the life of the first ones to come so far.
    for life_s in (1.5, 6.0, 24.0):
        monkeypatch.setattr(tail_tickets, "TICKET_S", life_s)
        with tail_of(port, issue_ticket("acme")) as answer:
            told = answer.read().decode()  # to its end
        if answer.status != 401:
            break

    assert (answer.status, answer.getheader("Access-Control-Allow-Origin")) == (200, "*")
    assert 'event: end\ndata: {"code":"expired_ticket"' in told


@pytest.mark.parametrize(
    ("tenant", "status", "code"), [("", 401, "malformed_ticket"), ("nobody", 403, "unknown_tenant")]
)
def test_a_ticket_that_is_none_opens_nothing(port: int, tenant: str, status: int, code: str) -> None:
    with tail_of(port, issue_ticket(tenant) if tenant else "forged") as answer:
        problem = json.loads(answer.read())

    assert (answer.status, problem["code"]) == (status, code)
