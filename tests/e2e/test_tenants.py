"""Tenants and keys as a tenant manager meets them while clients send; who may not; and what is on record afterwards."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from tests.e2e.browser import Browser
from tests.e2e.conftest import Console

PLAN = "small"
_PLAN = f"""
from tenants.models import ControlPlaneVersion, Plan
from django.db import transaction
with transaction.atomic():
    Plan.objects.create(
        name="{PLAN}",
        events_per_s=20,
        burst_events=600,
        bytes_per_s=100_000,
        events_per_day=1_000,
        quarantine="redacted",
    )
    ControlPlaneVersion.bump()
"""
_LINE = """
const rows = [...document.querySelectorAll("#result_list tbody tr")];
const row = rows.find((one) => one.textContent.includes(arguments[0]));
return row.querySelector("a").getAttribute("href");
"""
GOOD = {"source": "shop", "level": "INFO", "message": "a cart was filled"}
BAD = {"source": "shop", "level": "LOUD", "message": "user ann@example.com was not let in"}


def send(console: Console, key: str, events: list[dict[str, str]]) -> int:
    """One batch; the answer's status."""
    connection = http.client.HTTPConnection("127.0.0.1", console.node.port, timeout=10)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/api/logs/batch", json.dumps(events), headers)
    status = connection.getresponse().status
    connection.close()
    return status


class Client:
    """Sends an event every 20 ms with one key, and keeps when each answer came and what it was."""

    def __init__(self, console: Console, key: str) -> None:
        self.answers: list[tuple[float, int]] = []
        self._console, self._key = console, key
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            status = send(self._console, self._key, [GOOD])
            self.answers.append((time.monotonic(), status))

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def first(self, status: int) -> float | None:
        """When this was answered for the first time."""
        return next((at_s for at_s, answered in self.answers if answered == status), None)


@contextmanager
def sending(console: Console, browser: Browser, key: str) -> Iterator[Client]:
    """A client whose events are taken when the block begins: a new key reaches the workers within a second."""
    with Client(console, key) as client:
        browser.wait_for(lambda: client.first(HTTPStatus.ACCEPTED) is not None, what=lambda: f"{client.answers[-3:]}")
        yield client


def choose_plan(browser: Browser, name: str) -> None:
    browser.find("[name=plan]")
    script = (
        "return [...document.querySelectorAll('[name=plan] option')].find((one) => one.text === arguments[0]).value"
    )
    browser.fill("plan", str(browser.run(script, name)))


def issue(browser: Browser, name: str) -> str:
    """From the tenant's page to the key's text."""
    browser.press("Issue a key")
    browser.fill("name", name)
    browser.picture("key-issue")
    browser.press("Save")
    browser.reads("Copy it now: it is not shown again")
    return browser.find("#secret").text


def prefix_of(secret: str) -> str:
    return secret[: len("fb_12345678")]


def test_a_key_is_issued_rotated_and_revoked_while_a_client_sends_with_it(shared_console: Console) -> None:
    console = shared_console
    manager = console.as_("tenant")

    manager.open("/admin/senders/")
    manager.press("Create a tenant")
    manager.fill("name", "crux")
    choose_plan(manager, "agent")
    manager.press("Save")
    manager.reads("Tenant crux", "It has no key, so it can send nothing.")
    secret = issue(manager, "web")
    manager.picture("key-once")
    manager.press("Copy")
    manager.reads("Copied")
    manager.press("I have it: to the tenant's page")
    manager.reads(prefix_of(secret))
    assert secret not in manager.run("return document.documentElement.outerHTML")

    with sending(console, manager, secret) as client:
        manager.press(f"Rotate {prefix_of(secret)}")
        manager.reads("Both keys work until the old one ends: with 24 hours, at")
        manager.fill("reason", "On schedule.")
        manager.picture("key-rotate")
        manager.press("Rotate the key")
        manager.reads("takes over from")
        successor = manager.find("#secret").text
        with sending(console, manager, successor) as other:
            manager.press("I have it: to the tenant's page")
            manager.press(f"Revoke {prefix_of(secret)}")
            manager.reads("Within a second every worker answers this key with 401.")
            manager.fill("reason", "It leaked.")
            manager.picture("key-revoke")
            still_s = client.answers[-1]
            manager.press("Revoke the key")
            manager.reads("Revoked fb_")
            done_s = time.monotonic()
            manager.wait_for(lambda: client.first(HTTPStatus.UNAUTHORIZED) is not None)

    refused_s = client.first(HTTPStatus.UNAUTHORIZED)
    assert still_s[1] == HTTPStatus.ACCEPTED, "until it was revoked"
    assert refused_s is not None
    assert refused_s < done_s + 1, "within a second"
    assert {status for at_s, status in client.answers if at_s > refused_s} <= {HTTPStatus.UNAUTHORIZED}
    assert {status for _, status in other.answers[-5:]} == {HTTPStatus.ACCEPTED}, "the successor works on"

    admin = console.as_("admin")
    admin.open("/admin/tenants/auditentry/?by=tenant")
    admin.reads("key.issue", "key.rotate", "On schedule.", "key.revoke", "It leaked.", "tenant.create", "crux")
    admin.picture("audit")
    admin.open(str(admin.run(_LINE, "key.revoke")))
    admin.reads('- state: "active"', '+ state: "revoked"', "It leaked.")
    admin.picture("audit-line")
    assert secret not in admin.run("return document.documentElement.outerHTML")


def test_a_tenant_is_seen_at_its_limits_suspended_and_resumed(shared_console: Console) -> None:
    console = shared_console
    console.shell(_PLAN)
    key = console.tenant_with_key("bolt", plan=PLAN)
    idle = console.tenant_with_key("acme-idle")
    manager = console.as_("tenant")
    manager.wait_for(lambda: send(console, key, [GOOD] * 500 + [BAD] * 5) == HTTPStatus.MULTI_STATUS)
    manager.wait_for(lambda: send(console, idle, [GOOD]) == HTTPStatus.ACCEPTED)

    refused = [send(console, key, [GOOD] * 400) for _ in range(3)]
    assert HTTPStatus.TOO_MANY_REQUESTS in refused

    manager.open("/admin/senders/bolt/")
    manager.reads("unknown_level", "tenant events_per_s", wait_s=40)
    manager.picture("tenant")
    manager.open("/admin/senders/")
    manager.reads("bolt", "acme-idle")
    manager.picture("tenants")
    manager.open("/admin/tenants/apikey/")
    manager.picture("keys")
    manager.press(prefix_of(key).removeprefix("fb_"))
    manager.reads("Rotate…", "Revoke…")
    manager.picture("key")
    manager.open("/admin/senders/bolt/")
    manager.press(PLAN)
    manager.reads("1 tenant")
    manager.picture("plan")

    manager.open("/admin/senders/bolt/")
    manager.press("Suspend…")
    manager.reads("Its active keys stop working until it is resumed: fb_")
    manager.fill("reason", "They send what nobody asked for.")
    manager.picture("suspend-confirm")
    manager.press("Suspend the tenant")
    manager.reads("Suspended bolt.", "SUSPENDED")
    manager.wait_for(lambda: send(console, key, [GOOD]) == HTTPStatus.FORBIDDEN, wait_s=2)
    manager.press("Resume…")
    manager.fill("reason", "They have mended it.")
    manager.press("Resume the tenant")
    manager.reads("Resumed bolt.", "ACTIVE", "They send what nobody asked for.")


def test_whose_role_does_not_allow_it_sees_no_button_and_is_refused(shared_console: Console) -> None:
    console = shared_console
    console.tenant_with_key("dora")
    viewer = console.as_("viewer")

    viewer.open("/admin/senders/dora/")
    viewer.reads("Tenant dora")
    for button in ("Issue a key", "Suspend…", "Delete…", "Rotate"):
        assert button not in viewer.text
    for path in ("/admin/senders/dora/suspend/", "/admin/tenants/apikey/add/", "/admin/auth/user/"):
        viewer.open(path)
        viewer.reads("Not yours to do")
