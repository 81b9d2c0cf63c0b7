"""Breakers, parked topics and journals as an operator meets them, with a Kafka that refuses and one that is away."""

import http.client
import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.conftest import or_end_the_run
from tests.consumer import create_topic, read_all, read_records
from tests.e2e.conftest import Console
from tests.faults.brokers import BreakableKafka, writing_denied
from tests.programs import poll_until
from tests.services import Services

# An outage opens an alert within the interval of its evaluation, which is 10 s.
ALERT_WITHIN_S = 40.0
HEALS_WITHIN_S = 60.0
REQUESTS = 12


@pytest.fixture
def kafka(services: Services) -> Iterator[BreakableKafka]:
    broker = or_end_the_run(BreakableKafka)(services)
    yield broker
    broker.close()


def send(console: Console, key: str, *messages: str) -> None:
    """A request each: a breaker counts calls and not events."""
    connection = http.client.HTTPConnection("127.0.0.1", console.node.port, timeout=10)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    for message in messages:
        event = {"source": "shop", "level": "INFO", "message": message}
        connection.request("POST", "/api/logs", json.dumps(event), headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == http.HTTPStatus.ACCEPTED, answer.status
    connection.close()


def wait_until_known(console: Console, key: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", console.node.port, timeout=10)

    def is_known() -> bool:
        connection.request("GET", "/api/usage", headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status == http.HTTPStatus.OK

    assert poll_until(is_known, 20)
    connection.close()


def test_a_topic_that_refuses_is_parked_and_resumed_once_it_takes_events_again(
    serve_console: Callable[..., Console], kafka: BreakableKafka, topic_name: str
) -> None:
    create_topic(kafka.bootstrap, topic_name)
    console = serve_console(kafka_bootstrap=kafka.bootstrap)
    key = console.tenant_with_key("acme")
    wait_until_known(console, key)
    send(console, key, "before")
    assert len(read_records(kafka.bootstrap, topic_name, until=1)) == 1
    operator = console.as_("operator")

    with writing_denied(kafka.bootstrap, topic_name):
        send(console, key, *(f"denied {number}" for number in range(REQUESTS)))
        operator.reads(f"Topic {topic_name} is parked for acme", "A topic is parked", wait_s=ALERT_WITHIN_S)
        operator.open("/admin/breakers/")
        operator.reads("PARKED", "TOPIC_AUTHORIZATION_FAILED", "1 open alert", f"{topic_name} of acme")
        operator.picture("breakers")
        operator.press(topic_name)
        operator.reads("Parked", "TOPIC_AUTHORIZATION_FAILED", str(REQUESTS))
        operator.picture("topic")
        operator.press("Resume")
        operator.reads("What this will do", f"{REQUESTS} events wait", "TOPIC_AUTHORIZATION_FAILED")
        operator.picture("confirm-resume")
    operator.fill("reason", "granted Write to Forebay")
    operator.press("Resume", within="form.fb-card")

    operator.reads("1 of 1 worker obeys", "granted Write to Forebay", "Nobody's events for it are parked.")
    records = read_records(kafka.bootstrap, topic_name, until=1 + REQUESTS)
    messages = [json.loads(record.value)["message"] for record in records]
    assert sorted(messages) == sorted(["before", *(f"denied {number}" for number in range(REQUESTS))])
    operator.open("/admin/ingest/incident/")
    operator.picture("alerts")


def test_while_the_broker_is_away_the_breaker_is_open_and_the_backlog_seen_until_it_has_drained(
    serve_console: Callable[..., Console], kafka: BreakableKafka, topic_name: str
) -> None:
    create_topic(kafka.bootstrap, topic_name)
    console = serve_console(kafka_bootstrap=kafka.bootstrap)
    key = console.tenant_with_key("acme")
    wait_until_known(console, key)
    send(console, key, "before")
    assert len(read_records(kafka.bootstrap, topic_name, until=1)) == 1
    operator = console.as_("operator")
    operator.open("/admin/breakers/")

    kafka.server.stop()
    send(console, key, *(f"waits {number}" for number in range(REQUESTS)))
    operator.reads("What failed last", "cluster", f"{REQUESTS}\nof 1 tenant", wait_s=HEALS_WITHIN_S)
    operator.wait_for(lambda: "OPEN" in operator.find("#live .fb-h2 .fb-state").text, wait_s=HEALS_WITHIN_S)
    operator.picture("breakers-open")
    operator.open("/admin/journals/")
    operator.reads("Who is behind", "acme", topic_name, str(REQUESTS), "manage.py journal show")
    operator.picture("journals")
    operator.open("/admin/breakers/")
    operator.press("Force open")
    operator.reads("What this will do", "Nothing will be sent to Kafka by 1 worker", "wait there already")
    operator.picture("confirm-force-open")
    operator.press("Leave it as it is")
    kafka.server.start()

    operator.reads("Everything is sent.", "Nobody: nothing is behind, and nothing is parked.", wait_s=HEALS_WITHIN_S)
    messages = [json.loads(record.value)["message"] for record in read_all(kafka.bootstrap, topic_name)]
    assert sorted(messages) == sorted(["before", *(f"waits {number}" for number in range(REQUESTS))])


def test_an_operator_forces_a_topic_open_sees_that_all_obey_and_resets_it(shared_console: Console) -> None:
    topic = f"spare-{uuid4().hex[:8]}"
    viewer, operator = shared_console.as_("viewer"), shared_console.as_("operator")
    operator.open(f"/admin/breakers/override/?kind=FORCED_OPEN&topic={topic}")
    operator.fill("reason", "its brokers are moved")
    operator.press("Force open")

    operator.reads("FORCED_OPEN", "1 of 1 worker obeys", "its brokers are moved")
    viewer.open(f"/admin/topics/{topic}/")
    viewer.reads("FORCED_OPEN", "its brokers are moved")
    assert "Reset" not in viewer.text
    viewer.open(f"/admin/breakers/override/?kind=RESET&topic={topic}")
    viewer.reads("Not yours to do")
    operator.press("Reset")
    operator.fill("reason", "they have been moved")
    operator.press("Reset")

    operator.reads("CLOSED", "1 of 1 worker obeys", "they have been moved")
    operator.open("/admin/ingest/override/")
    operator.picture("override-history")
