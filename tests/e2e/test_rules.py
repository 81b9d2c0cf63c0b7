"""Routing rules as a routing editor works on them: drafted, tried, published, followed by an event, and taken back."""

import http.client
import json
from uuid import uuid4

import pytest

from tests.consumer import Record, create_topic, read_records
from tests.e2e.browser import Browser
from tests.e2e.conftest import Console

EVENT: dict[str, object] = {
    "source": "payments-api",
    "level": "WARN",
    "message": "card declined",
    "metadata": {"region": "eu-west"},
}


@pytest.fixture
def tag() -> str:
    """Of this test alone; the platform is shared."""
    return uuid4().hex[:6]


def send(console: Console, key: str, event: dict[str, object]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", console.node.port, timeout=10)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/api/logs", json.dumps(event), headers)
    assert connection.getresponse().status == http.HTTPStatus.ACCEPTED
    connection.close()


def received(kafka: str, topic: str, event_id: str) -> Record:
    """The record of one event, from Kafka itself."""

    def found(records: list[Record]) -> list[Record]:
        return [record for record in records if json.loads(record.value).get("eventId") == event_id]

    records = read_records(kafka, topic, until=lambda records: bool(found(records)))
    (record,) = found(records)
    return record


def add_rule(editor: Browser, name: str, tenant: str, **fields: str) -> None:
    editor.open("/admin/ingest/routingrule/add/")
    for field, value in {"name": name, "tenants": tenant, **fields}.items():
        editor.fill(field, value)
    editor.find("[name='_save']").click()
    editor.reads(f"{name} is the last rule of the draft")


def try_event(editor: Browser, tenant: str, event: dict[str, object]) -> None:
    editor.open("/admin/rules/try/")
    editor.fill("tenant", tenant)
    editor.fill("event", json.dumps(event))
    editor.press("Try this event")


def publish(editor: Browser, reason: str) -> float:
    """Returns after how many seconds every worker had it, as the page says."""
    editor.open("/admin/rules/publish/")
    editor.fill("reason", reason)
    editor.find("form.fb-form button").click()
    return reached_s(editor)


def reached_s(editor: Browser) -> float:
    editor.reads("This version is live", "1 of 1 worker after")
    return float(editor.find(".fb-workers b").text.split(" after ")[1].removesuffix(" s"))


def test_a_rule_is_drafted_tried_published_followed_by_an_event_and_rolled_back(
    shared_console: Console, kafka_bootstrap: str, tag: str
) -> None:
    console, kafka = shared_console, kafka_bootstrap
    acme, before, after = f"acme-{tag}", f"before-{tag}", f"after-{tag}"
    key = console.tenant_with_key(acme)
    for topic in (before, after):
        create_topic(kafka, topic, partitions=3)
    editor = console.as_("routing")

    # What is live first: everything of Acme to one topic.
    add_rule(editor, f"all-{tag}", acme, topic=before, key="source")
    reached = [publish(editor, "Acme has a topic of its own")]
    send(console, key, EVENT | {"eventId": f"{tag}-1"})
    assert received(kafka, before, f"{tag}-1").key == b"payments-api"

    editor.open("/admin/ingest/routingrule/add/")
    editor.picture("rules-form")

    # A draft: payments apart. Last, it is shadowed; moved up with the keyboard it is not.
    add_rule(editor, f"payments-{tag}", acme, topic=after, source_glob="payments-*", key="metadata.region\nsource")
    add_rule(editor, f"debug-{tag}", acme, drop_reason="debug-noise", source_glob="debug-*")
    editor.reads("The draft differs from what is live: 2 changes", "never matches anything", "shadowed")
    editor.picture("rules")
    up = editor.find(f"[aria-label='Move payments-{tag} up']")
    editor.run("arguments[0].focus()", up)
    up.send_keys("\n")
    editor.wait_for(lambda: first_of(editor, tag) == f"payments-{tag}")
    focused = editor.run("return document.activeElement.getAttribute('aria-label')")
    assert focused == f"Move payments-{tag} up", "the keyboard stays where it was"
    place = editor.find(f"[aria-label='Place of debug-{tag}']")
    place.clear()
    place.send_keys("1\n")
    editor.wait_for(lambda: first_of(editor, tag) == f"debug-{tag}")

    # Tried: the draft sends it another way; nothing is sent.
    send_elsewhere = EVENT | {"eventId": f"{tag}-2"}
    try_event(editor, acme, send_elsewhere)
    editor.reads("The draft sends this event another way", f"all-{tag}", f"payments-{tag}", "eu-west + payments-api")
    editor.reads("no: source payments-api is not debug-*")
    told = editor.find("[aria-label='Draft'] .fb-facts").text
    editor.picture("rules-try")
    editor.press("Try on recent traffic")
    editor.reads("recent events would go another way", f"payments-{tag}: {after}")
    editor.picture("rules-try-recent")
    try_event(editor, acme, {"source": "payments-api"})
    editor.reads("This event is not accepted: missing_field")

    # Published: shown first, with the topic known to the cluster; then every worker has it.
    editor.open("/admin/rules/publish/")
    editor.reads(f"payments-{tag}", "source glob", "payments-*")
    editor.picture("rules-publish")
    reached.append(publish(editor, "payments have a reader of their own"))
    version = int(editor.path.rstrip("/").rpartition("/")[2])
    editor.picture("rules-published")

    # An event takes the new way, to the partition that was told.
    send(console, key, send_elsewhere)
    record = received(kafka, after, f"{tag}-2")
    assert record.key == b"eu-west\x1fpayments-api"
    assert f"{record.partition} of 3, by key hash" in told

    # And back: with a reason, under a new number; events go the old way again.
    editor.open("/admin/rules/versions/")
    editor.reads("payments have a reader of their own", "live")
    editor.picture("rules-versions")
    editor.press(f"Roll back to {version - 1}")
    editor.reads("What becomes different on every worker", f"payments-{tag}")
    editor.picture("rules-roll-back")
    editor.fill("reason", "the reader is not there yet")
    editor.press(f"Roll back to version {version - 1}")
    editor.reads(f"a rollback to version {version - 1}")
    reached.append(reached_s(editor))
    # Within a second, by the clocks of two processes on a machine that may be busy for one of them.
    assert min(reached) <= 1.0, reached
    send(console, key, EVENT | {"eventId": f"{tag}-3"})
    assert received(kafka, before, f"{tag}-3").key == b"payments-api"
    editor.open("/admin/rules/")
    editor.reads("The draft is what is live")


def first_of(editor: Browser, tag: str) -> str:
    """The first rule of this test in the list."""
    names: list[str] = editor.run(
        "return [...document.querySelectorAll('.fb-rules tbody tr[id] b')].map(one => one.textContent)"
    )
    return next(name for name in names if name.endswith(tag))


def test_a_viewer_looks_and_tries_and_changes_nothing(shared_console: Console, tag: str) -> None:
    console = shared_console
    acme = f"acme-{tag}"
    console.tenant_with_key(acme)
    viewer = console.as_("viewer")

    viewer.open("/admin/rules/")
    viewer.reads("Routing rules", "everything else")
    shown = viewer.text
    try_event(viewer, acme, EVENT)
    viewer.reads("The draft changes nothing for this event")
    viewer.open("/admin/rules/")
    statuses = viewer.run(
        """
        const token = document.cookie.replace(/.*csrftoken=([^;]*).*/, "$1");
        const body = new URLSearchParams({csrfmiddlewaretoken: token, reason: "r", place: "1", enabled: "0"});
        const paths = ["publish/", "discard/", "versions/1/roll-back/", "1/move/", "1/enable/"];
        const post = path => fetch("/admin/rules/" + path, {method: "POST", body}).then(answer => answer.status);
        return Promise.all(paths.map(post));
        """
    )

    for button in ("Add a rule", "Review and publish", "Discard", "Edit", "Delete", "Disable"):
        assert button not in shown
    assert statuses == [403] * 5
