"""Who is asking, and may they: everything that is decided before a body is read.

HTTP side of the event path; request threads. No query, and no Redis but for the address limit's lease, which is one
call in many requests.
"""

import time
from collections.abc import Mapping
from typing import Any

from ingest.api.addresses import is_within
from ingest.dataplane.callers import Caller
from ingest.dataplane.errors import Forbidden, Unauthenticated, quota_refused
from ingest.worker import Worker
from tenants import api_keys


def admit(meta: Mapping[str, Any], worker: Worker, scope: str, peer_address: str) -> Caller:
    """The caller behind a request's key. Raises Unauthenticated, Forbidden or Throttled; never touches the database."""
    try:
        caller = authenticate(key_text(meta), worker)
    except Unauthenticated:
        count_stranger(worker, peer_address)
        raise
    authorise(caller, scope, peer_address)
    limit = caller.tenant.quota.requests_per_s_per_address
    if limit:
        refusal = worker.address_limits.admit(peer_address, str(caller.key.key_id), limit)
        if refusal is not None:
            raise quota_refused(refusal, caller.tenant.name, is_body_unread=True)
    return caller


def count_stranger(worker: Worker, peer_address: str) -> None:
    """Who shows nothing that is valid counts against their address. Raises Throttled once that is too often."""
    refusal = worker.address_limits.admit(peer_address, None, worker.anonymous_requests_per_s)
    if refusal is not None:
        raise quota_refused(refusal) from None


def authorise(caller: Caller, scope: str, peer_address: str) -> None:
    """Raises Forbidden where a caller may not do this, or not from there."""
    if scope not in caller.key.scopes:
        raise Forbidden("missing_scope", f"This key lacks the scope {scope!r}; it has {sorted(caller.key.scopes)}")
    if not caller.tenant.active:
        raise Forbidden("tenant_suspended", f"The tenant {caller.tenant.name} is suspended; ask its operator")
    if caller.key.networks and not is_within(peer_address, caller.key.networks):
        raise Forbidden("address_not_allowed", f"This key may not be used from {peer_address}")


def authenticate(text: str, worker: Worker) -> Caller:
    """The caller behind the text of a key, in the newest snapshot. Raises Unauthenticated, Unavailable."""
    if not text:
        raise Unauthenticated("missing_key", "Send a key as `Authorization: Bearer fb_…` or `X-API-Key: fb_…`")
    try:
        digest = api_keys.parse(text)
    except api_keys.MalformedKey as error:
        raise Unauthenticated("malformed_key", str(error)) from None
    caller = worker.callers.find(digest)
    if caller is None or not api_keys.matches(caller.key.digest, digest):
        raise Unauthenticated("unknown_key", "Nobody has this key; a new one takes up to a second to be known")
    if caller.key.revoked:
        raise Unauthenticated("revoked_key", "This key was revoked; issue a new one")
    if caller.key.expires_wall_s is not None and caller.key.expires_wall_s <= time.time():
        raise Unauthenticated("expired_key", "This key has expired; issue a new one")
    return caller


def key_text(meta: Mapping[str, Any]) -> str:
    """The key as it was sent; empty where none was."""
    text: str | None = meta.get("HTTP_X_API_KEY")
    if text is None:
        kind, _, text = meta.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind.lower() != "bearer":
            return ""
    return text.strip()
