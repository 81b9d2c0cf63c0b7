"""A tenant's events as an operator watches them come: live, filtered, paused, and over the death of the process."""

import os
import signal
from collections.abc import Callable
from urllib.parse import urlsplit

from forebay.local.ports import free_port
from tests.e2e.conftest import Console
from tests.e2e.test_away import listens_through
from tests.e2e.test_tenants import send


def test_an_operator_watches_a_tenants_events_come(serve_console: Callable[..., Console]) -> None:
    console = serve_console(environment={"FOREBAY_LISTEN_PORT": str(free_port())})
    listening = f"asked {urlsplit(console.node.url).hostname}:{console.node.listen_port}"
    key = console.tenant_with_key("acme")
    viewer = console.as_("viewer")

    def event(level: str, message: str) -> list[dict[str, str]]:
        return [{"source": "checkout", "level": level, "message": message}]

    def sees(level: str, message: str) -> None:
        """Sent until it is seen: the tail begins with what comes after its first look."""

        def seen() -> bool:
            send(console, key, event(level, message))
            return message.replace("bob@example.com", "[email]") in viewer.text

        viewer.wait_for(seen, what=lambda: f"{message}: {viewer.text}")

    viewer.open("/admin/senders/acme/")
    viewer.press("See its events live")
    viewer.reads("Live.", "No event has come yet.")
    sees("INFO", "a cart was filled")
    sees("ERROR", "a mail to bob@example.com was not sent")
    viewer.find(".fb-tail summary").click()
    viewer.reads('"eventId"')
    viewer.picture("tenant-tail")

    viewer.fill("level", "ERROR")
    viewer.press("Show")
    viewer.reads("Live.")
    send(console, key, event("INFO", "nobody asked for this"))
    sees("ERROR", "a card was declined")
    assert "nobody asked for this" not in viewer.text

    viewer.press("Pause")
    viewer.reads("Paused; 0 came meanwhile")
    viewer.wait_for(lambda: send(console, key, event("ERROR", "unseen")) == 202 and "Paused; 0" not in viewer.text)
    assert "unseen" not in viewer.text
    viewer.press("Go on")

    os.kill(console.node.listen_pid(), signal.SIGKILL)
    viewer.reads("does not answer at")
    viewer.reads("Live.", wait_s=60)
    sees("ERROR", "it goes on")
    listens_through(viewer, listening, "net::ERR_")


def test_where_nobody_listens_the_page_says_what_to_set(shared_console: Console) -> None:
    shared_console.tenant_with_key("quiet")
    viewer = shared_console.as_("viewer")

    viewer.open("/admin/senders/quiet/tail/")

    viewer.reads("No process serves the live tail here", "FOREBAY_LISTEN_PORT")
    viewer.check("/admin/senders/quiet/tail/")
