"""The overview as an operator meets it."""

import http.client
import json

from tests.e2e.conftest import Console


def send(console: Console, key: str, count: int = 1) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", console.node.port, timeout=10)
    events = [{"source": "shop", "level": "INFO", "message": f"event {number}"} for number in range(count)]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/api/logs/batch", json.dumps(events), headers)
    assert connection.getresponse().status == http.HTTPStatus.ACCEPTED
    connection.close()


def test_the_overview_says_that_all_is_well_and_follows_what_comes_in(shared_console: Console) -> None:
    console = shared_console
    key = console.tenant_with_key("acme")
    viewer = console.as_("viewer")

    viewer.reads("Healthy", "1 worker heard")
    # What another test has sent on this platform is over a minute after it.
    viewer.wait_for(lambda: "Events in\n0 /s" in viewer.text, wait_s=90)
    send(console, key, 600)

    viewer.reads("10 /s")  # 600 in the last minute, without anybody reloading
    viewer.picture("overview")
    viewer.open("/admin/runbook/#topic_behind")
    viewer.reads("topic_behind", "The builder looks at it again every 5 s")
    viewer.picture("runbook")
