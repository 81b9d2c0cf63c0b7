"""What a person fills in on the console's forms about tenants, and how the answer is read."""

import html
import re
from collections.abc import Mapping

from django.test import Client
from django.urls import reverse

SECRET = re.compile(r"fb_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")
NO_LIMITS = {"events_per_s": 0, "burst_events": 0, "bytes_per_s": 0, "burst_bytes": 0, "events_per_day": 0}
KEY_FORM = {
    "name": "web",
    "scopes": ["ingest", "read"],
    "allowed_networks": "10.0.0.0/8\n192.0.2.7\n",
    "new_prefix": "abcd1234",
    "reason": "a test",
    **NO_LIMITS,
}


def get(console: Client, page: str, *args: object, **query: str) -> str:
    """A page's text."""
    answer = console.get(reverse(page, args=args), query, follow=True)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def post(console: Client, page: str, form: Mapping[str, object], *args: object) -> str:
    """The page that follows a form that was taken; one that was refused fails here."""
    answer = console.post(reverse(page, args=args), form, follow=True)
    assert answer.redirect_chain, answer.content.decode()
    return html.unescape(answer.content.decode())
