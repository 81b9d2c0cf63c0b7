"""Every way a request or one of its events can be refused: the one table from stable code to HTTP status.

Data plane; stateless. docs/errors.md says for each code what to do about it.

    Refused                       the request is not accepted
    ├── Unauthenticated     401   missing_key, malformed_key, unknown_key, expired_key, revoked_key
    ├── Forbidden           403   missing_scope, address_not_allowed, tenant_suspended, unknown_tenant
    ├── BadRequest          400   empty_body, malformed_json, empty_batch, ..., and an event's code for a single event
    ├── Conflict            409   idempotency_in_progress, duplicate_in_progress, idempotency_answer_not_kept
    ├── LengthRequired      411   length_required
    ├── TooLarge            413   body_too_large, too_many_events, batch_exceeds_burst
    ├── UnsupportedMedia    415   unsupported_encoding
    ├── NotFound            404   unknown_path
    ├── MethodNotAllowed    405   method_not_allowed
    ├── RequestTimeout      408   request_timeout
    ├── Undeliverable       422   undeliverable
    ├── KeyReused           422   idempotency_key_reused
    ├── Throttled           429   quota_exceeded, address_limit_exceeded
    ├── InternalError       500   internal_error
    └── Unavailable         503   journal_full, journal_unwritable, too_many_bodies, no_snapshot, ...
    StreamEnded                   a stream is closed before its sender ends it; its last line tells the code
    EventRejected                 one event of a request is not accepted; a batch tells its index (207, 400 if all are)
"""

from typing import Any, ClassVar

from tenants.quotas import Refusal, RefusalKind, Scope


class EventRejected(Exception):
    """One event is not accepted: `code` and `detail` are given with its index."""

    codes: ClassVar[frozenset[str]] = frozenset(
        {
            "malformed_json",
            "not_an_object",
            "unknown_field",
            "missing_field",
            "invalid_field",
            "unknown_level",
            "invalid_timestamp",
            "timestamp_out_of_range",
            "event_too_large",
            "too_many_metadata_entries",
            "undeliverable",
        }
    )

    def __init__(self, code: str, detail: str) -> None:
        assert code in self.codes, code  # noqa: S101 - as above
        super().__init__(detail)
        self.code, self.detail = code, detail


class Refused(Exception):
    """A whole request is refused. `code` is stable, `detail` is for a person, `extra` joins the problem document."""

    status: ClassVar[int]
    codes: ClassVar[frozenset[str]]
    retry_after_s: float | None = None

    def __init__(self, code: str, detail: str, **extra: Any) -> None:
        assert code in self.codes, code  # noqa: S101 - a code outside of the table is a bug of ours, not of the caller
        super().__init__(detail)
        self.code, self.detail, self.extra = code, detail, extra


class Unauthenticated(Refused):
    """No valid key came with the request, nor a ticket in its place."""

    status = 401
    codes = frozenset(
        {
            "missing_key",
            "malformed_key",
            "unknown_key",
            "expired_key",
            "revoked_key",
            "malformed_ticket",
            "expired_ticket",
        }
    )


class Forbidden(Refused):
    """The key is valid, but not for this."""

    status = 403
    codes = frozenset({"missing_scope", "address_not_allowed", "tenant_suspended", "unknown_tenant"})


class BadRequest(Refused):
    """Nothing in the request could be accepted; it will not get better by sending it again."""

    status = 400
    codes = EventRejected.codes | {
        "empty_body",
        "incomplete_body",
        "malformed_compression",
        "empty_batch",
        "all_events_rejected",
        "unknown_delivery",
        "invalid_query",
        "invalid_handshake",
        "invalid_idempotency_key",
    }


class Conflict(Refused):
    """The same request, or one of its events, came before. While that one is not answered, `retry_after_s` is set."""

    status = 409
    codes = frozenset({"idempotency_in_progress", "duplicate_in_progress", "idempotency_answer_not_kept"})


class LengthRequired(Refused):
    """Whether its body is whole cannot be told."""

    status = 411
    codes = frozenset({"length_required"})


class KeyReused(Refused):
    """An Idempotency-Key stands for one request; this is another."""

    status = 422
    codes = frozenset({"idempotency_key_reused"})


class Undeliverable(Refused):
    """The request waited for Kafka, and Kafka refused every one of its events for good."""

    status = 422
    codes = frozenset({"undeliverable"})


class NotFound(Refused):
    """Nothing is at this address of the listen process; other addresses are Django's."""

    status = 404
    codes = frozenset({"unknown_path"})


class RequestTimeout(Refused):
    """The head of a request did not arrive in time."""

    status = 408
    codes = frozenset({"request_timeout"})


class MethodNotAllowed(Refused):
    """Events are sent with POST."""

    status = 405
    codes = frozenset({"method_not_allowed"})


class TooLarge(Refused):
    """Over a limit of size; `limit` is in the answer, so that the sender can split."""

    status = 413
    codes = frozenset({"body_too_large", "too_many_events", "batch_exceeds_burst"})


class UnsupportedMedia(Refused):
    """A Content-Encoding nobody here reads."""

    status = 415
    codes = frozenset({"unsupported_encoding"})


class Throttled(Refused):
    """A quota or a limit per client address is used up; `retry_after_s` says when to come back.

    `tenant` is empty where nobody knows who sends; `is_body_unread` where that still lies in the connection."""

    status = 429
    codes = frozenset({"quota_exceeded", "address_limit_exceeded"})
    tenant = ""
    is_body_unread = False

    def __init__(self, code: str, detail: str, *, retry_after_s: float, **extra: Any) -> None:
        super().__init__(code, detail, **extra)
        self.retry_after_s = retry_after_s


class Unavailable(Refused):
    """Forebay cannot take it now; the sender keeps it and comes back."""

    status = 503
    codes = frozenset(
        {
            "journal_full",
            "journal_share_exceeded",
            "journal_unwritable",
            "too_many_bodies",
            "no_snapshot",
            "shutting_down",
            "sample_unavailable",
            "usage_unavailable",
            "dead_letters_unavailable",
            "journal_behind",
            "too_many_connections",
        }
    )
    retry_after_s = 1.0


class InternalError(Refused):
    """A defect of ours. What became of the request is not known; its events may have been accepted."""

    status = 500
    codes = frozenset({"internal_error"})


class StreamEnded(Exception):
    """A long-lived connection is closed by us: what its last line says, if anybody reads it."""

    codes: ClassVar[frozenset[str]] = frozenset(
        {"go_elsewhere", "taken_over", "idle_timeout", "line_timeout", "not_reading", "incomplete_body"}
        | Unauthenticated.codes
        | Forbidden.codes
    )

    def __init__(self, code: str, detail: str) -> None:
        assert code in self.codes, code  # noqa: S101 - as above
        super().__init__(detail)
        self.code, self.detail = code, detail


REFUSALS: tuple[type[Refused], ...] = (
    Unauthenticated,
    Forbidden,
    BadRequest,
    Conflict,
    LengthRequired,
    KeyReused,
    Undeliverable,
    MethodNotAllowed,
    TooLarge,
    UnsupportedMedia,
    Throttled,
    Unavailable,
    InternalError,
)


def quota_refused(refusal: Refusal, tenant: str = "", *, is_body_unread: bool = False) -> Refused:
    """What the sender is told when a limit said no: which one, how much of it is used, when to come back."""
    told = {
        "scope": refusal.scope,
        "what": refusal.what,
        "limit": refusal.limit,
        "burst": refusal.burst,
        "used": refusal.used,
        "reset_s": round(refusal.reset_s, 3),
    }
    name = f"{refusal.what} of this {refusal.scope}"
    if refusal.kind is RefusalKind.EXCEEDS_BURST:
        detail = f"The request is larger than the burst of {refusal.burst} {name}; split it"
        return TooLarge("batch_exceeds_burst", detail, **told)
    code = "address_limit_exceeded" if refusal.scope is Scope.ADDRESS else "quota_exceeded"
    detail = f"The limit of {refusal.limit} {name} is used up; come back in {refusal.reset_s:.3f} s"
    throttled = Throttled(code, detail, retry_after_s=refusal.reset_s, **told)
    throttled.tenant, throttled.is_body_unread = tenant, is_body_unread
    return throttled
