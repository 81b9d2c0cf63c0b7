"""Dead letters as an operator meets them: one bad record that is mended, and thousands that are sent again."""

import http.client
import json
import random
import re
from collections.abc import Iterator

import pytest

from tests.consumer import read_all, read_records
from tests.e2e.browser import Browser
from tests.e2e.conftest import Console
from tests.faults.brokers import set_max_message_bytes
from tests.programs import poll_until

KIB = 1 << 10
LOWERED_BYTES, DEFAULT_BYTES = 32 * KIB, 1 << 20
# Random text, so that no compression brings it below the limit.
OVERSIZE_TEXT = random.Random(1).randbytes(64 * KIB).hex()
LIST = "/admin/ingest/deadletter/"
MANY = 2_000
_WHEN_NOBODY_SENDS = """
import time
from django.utils import timezone
from ingest.dead_letters.claims import is_somebody_sending
give_up_s = time.monotonic() + 60
while (sends := is_somebody_sending(now=timezone.now())) and time.monotonic() < give_up_s:
    time.sleep(0.1)
print(sends)
"""
_MANY_LETTERS = """
from django.utils import timezone
from ingest.models import LetterStatus
from tests.unit.dead_letters.world import event, letters
now = timezone.now()
letters({count}, journal={tenant!r}, tenant={tenant!r}, topic={topic!r}, partition=-1,
    status=LetterStatus.EXHAUSTED, next_attempt_at=None, dead_at=now,
    accepted_at=now, retry_since=now, text="checkout: paid")
"""


@pytest.fixture
def topic(shared_console: Console) -> Iterator[str]:
    """The console's default topic, which takes large records again after the test."""
    name = shared_console.node.environment["FOREBAY_TOPIC_DEFAULT"]
    yield name
    set_max_message_bytes(kafka_of(shared_console), name, DEFAULT_BYTES)


def kafka_of(console: Console) -> str:
    return console.node.environment["FOREBAY_KAFKA_BOOTSTRAP_SERVERS"]


def send(console: Console, key: str, message: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", console.node.port, timeout=10)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    event = {"source": "checkout", "level": "ERROR", "message": message, "stackTrace": "at com.example.Pay.charge"}
    connection.request("POST", "/api/logs", json.dumps(event), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_a_bad_record_is_a_dead_letter_that_is_edited_and_sent_again(shared_console: Console, topic: str) -> None:
    console, bootstrap = shared_console, kafka_of(shared_console)
    key = console.tenant_with_key("letters-acme")
    assert poll_until(lambda: send(console, key, "good") == http.HTTPStatus.ACCEPTED, 20)
    assert read_records(bootstrap, topic, until=1)
    # Two more causes beside it, for a list that is worth looking at.
    console.shell(_MANY_LETTERS.format(count=140, tenant="letters-crux", topic="payments"))
    console.shell(_MANY_LETTERS.format(count=20, tenant="letters-bolt", topic="audit"))

    set_max_message_bytes(bootstrap, topic, LOWERED_BYTES)
    assert send(console, key, f"card declined {OVERSIZE_TEXT}") == http.HTTPStatus.ACCEPTED
    operator = console.as_("operator")
    operator.open(LIST)
    operator.reads("MSG_SIZE_TOO_LARGE", "TOPIC_AUTHORIZATION_FAILED", "causes", reloading=True)
    operator.picture("dead-letters")
    operator.open(f"{LIST}?text=declined+pay.charge&tenant=letters-acme")
    operator.reads("1 dead letter, 1 cause")
    operator.find(".fb-letters a").click()
    operator.reads("Kafka refuses it for what it is", "MSG_SIZE_TOO_LARGE", "com.example.Pay.charge")
    operator.picture("dead-letter")

    operator.press("Edit the event")
    operator.fill("event", '{"source": "checkout", "level": "warning", "message": "card declined, in short"}')
    operator.press("Preview")
    operator.reads("This would be accepted", '+   "message": "card declined, in short"')
    operator.picture("dead-letter-edit")
    operator.fill("reason", "the topic takes 32 KiB")
    operator.press("Save the event")
    operator.reads("The event is changed", "As it was accepted")
    operator.press("Send again…")
    operator.reads("Send 1 dead letter again", f"1 {topic}")
    operator.fill("reason", "it is short now")
    operator.press("Send 1 again")
    operator.reads("Kafka has it", "delivered", reloading=True)

    records = read_records(
        bootstrap, topic, until=lambda found: any(b"in short" in one.value for one in found), deadline_s=30
    )
    (mended,) = [json.loads(one.value) for one in records if b"in short" in one.value]
    assert (mended["level"], mended["tenant"]) == ("WARN", "letters-acme")


def replayed(browser: Browser) -> int:
    found = re.search(r"([\d,]+) of [\d,]+ replayed", browser.text)
    assert found is not None, browser.text
    return int(found.group(1).replace(",", ""))


def test_a_bulk_replay_is_planned_paused_gone_on_with_and_cancelled_and_the_rest_is_discarded(
    shared_console: Console, topic: str
) -> None:
    console, bootstrap = shared_console, kafka_of(shared_console)
    console.shell(_MANY_LETTERS.format(count=MANY, tenant="letters-dune", topic=topic))
    before = len(read_all(bootstrap, topic))
    operator = console.as_("operator")

    operator.open(f"{LIST}?tenant=letters-dune")
    operator.reads(f"{MANY:,} dead letters, 1 cause")
    operator.press("Replay all…", within=".fb-causes")
    operator.reads(f"{MANY:,} open dead letters match now")
    operator.choose("route", "pinned")
    operator.fill("reason", "the topic is back")
    operator.press("Plan")
    operator.reads("nothing is sent before you start it", f"{MANY:,} {topic}", "s at least")
    operator.press("Start…")
    operator.press("Start")
    operator.reads("running", "asked for every 2 s")
    operator.wait_for(lambda: replayed(operator) > 0, what=lambda: f"a first one, on {operator.text}")

    operator.press("Pause…")
    operator.fill("reason", "somebody complains")
    operator.press("Pause")
    operator.reads("paused")
    paused = settled(console, operator)
    assert 0 < paused < MANY
    operator.picture("bulk-replay")
    operator.press("Go on…")
    operator.fill("reason", "it was somebody else")
    operator.press("Go on")
    operator.wait_for(lambda: replayed(operator) > paused, what=lambda: f"more than {paused}, on {operator.text}")
    operator.press("Cancel…")
    operator.reads("Nothing more of it is sent, for good")
    operator.fill("reason", "enough for today")
    operator.press("Cancel the replay")
    operator.reads("cancelled")
    sent = settled(console, operator)
    assert paused < sent < MANY

    operator.open(f"{LIST}?tenant=letters-dune")
    operator.press("Discard all…", within=".fb-causes")
    operator.reads(f"Discard {MANY - sent:,} dead letters", "This cannot be taken back")
    operator.picture("discard-confirm")
    operator.fill("reason", "test traffic")
    operator.press(f"Discard {MANY - sent:,}")
    operator.reads(f"{MANY - sent:,} dead letters discarded", "No dead letter matches")
    assert len(read_records(bootstrap, topic, until=before + sent)) >= before + sent


def settled(console: Console, browser: Browser) -> int:
    """How many are replayed, once no sender has a letter in its hands."""
    assert console.shell(_WHEN_NOBODY_SENDS).split() == ["False"]
    browser.open(browser.path)
    return replayed(browser)
