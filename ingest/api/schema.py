"""What the OpenAPI document says of the ingest routes; read when somebody asks for it, never on the event path."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    inline_serializer,
)
from rest_framework import serializers

Fields = dict[str, serializers.Field[Any, Any, Any, Any]]
PROBLEM = "application/problem+json"


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "integer"}]})
class _TextOrNumber(serializers.CharField):
    """Text, or a whole number."""


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}], "nullable": True})
class _Scalar(serializers.CharField):
    """What metadata may hold."""


def _kind(name: str, fields: Fields) -> type[serializers.Serializer[Any]]:
    """One class for each component, however often it is used: OpenAPI's names stand for classes."""
    return type(inline_serializer(name, fields))


def _event_fields() -> Fields:
    return {
        "source": serializers.CharField(max_length=255, help_text="What sends: a service, a host, a file."),
        "level": _TextOrNumber(help_text="TRACE DEBUG INFO WARN ERROR FATAL, any case, usual aliases, or 0 to 7."),
        "message": serializers.CharField(),
        "eventId": serializers.CharField(max_length=128, required=False, help_text="A UUIDv7 is made when absent."),
        "timestamp": _TextOrNumber(required=False, help_text="RFC 3339 or epoch milliseconds; arrival when absent."),
        "hostname": serializers.CharField(max_length=255, required=False, help_text="The peer's address when absent."),
        "correlationId": serializers.CharField(max_length=255, required=False),
        "metadata": serializers.DictField(child=_Scalar(), required=False, help_text="At most 64 names."),
        "stackTrace": serializers.CharField(required=False),
    }


def _stored_fields() -> Fields:
    added = ("eventId", "timestamp", "hostname", "correlationId", "tenant", "receivedAt", "receivedBy")
    return _event_fields() | {name: serializers.CharField() for name in added}


def _place_fields() -> Fields:
    """Where Kafka has it; with the status Delivered only."""
    return {
        "topic": serializers.CharField(required=False),
        "partition": serializers.IntegerField(required=False),
        "offset": serializers.IntegerField(required=False),
    }


def _status() -> serializers.ChoiceField:
    return serializers.ChoiceField(["Accepted", "Delivered", "Pending"])


_EVENT = _kind("Event", _event_fields())
_STORED_EVENT = _kind("StoredEvent", _stored_fields())
_REJECTION = _kind(
    "Rejection",
    {
        "index": serializers.IntegerField(),
        "eventId": serializers.CharField(allow_null=True),
        "code": serializers.CharField(),
        "detail": serializers.CharField(),
        "retryable": serializers.BooleanField(),
    },
)
_EVENT_STATE = _kind(
    "EventState",
    {
        "index": serializers.IntegerField(),
        "eventId": serializers.CharField(),
        "status": _status(),
        **_place_fields(),
    },
)
_PROBLEM = _kind(
    "Problem",
    {
        "type": serializers.CharField(),
        "title": serializers.CharField(),
        "status": serializers.IntegerField(),
        "code": serializers.CharField(help_text="Stable; docs/errors.md lists them."),
        "detail": serializers.CharField(),
        "limit": serializers.IntegerField(required=False, help_text="413 and 429: the limit that was hit."),
        "scope": serializers.ChoiceField(["tenant", "key", "address"], required=False, help_text="429: whose limit."),
        "what": serializers.CharField(required=False, help_text="429: a limit of what, such as events_per_s."),
        "burst": serializers.IntegerField(required=False, help_text="429: the most that goes at once."),
        "used": serializers.IntegerField(required=False, help_text="429: how much of the burst is used."),
        "reset_s": serializers.FloatField(required=False, help_text="429: when to come back."),
        "errors": _REJECTION(many=True, required=False, help_text="A batch of which nothing was accepted: why."),
    },
)
_ACCEPTED = _kind(
    "Accepted",
    {
        "eventId": serializers.CharField(),
        "status": _status(),
        "timestamp": serializers.DateTimeField(),
        **_place_fields(),
    },
)
_BATCH_ANSWER = _kind(
    "BatchAnswer",
    {
        "accepted": serializers.IntegerField(),
        "failed": serializers.IntegerField(),
        "timestamp": serializers.DateTimeField(),
        "errors": _REJECTION(many=True, required=False, help_text="Where failed is not 0: which and why."),
        "events": _EVENT_STATE(
            many=True, required=False, help_text="Where the request waited for Kafka: what became of what was accepted."
        ),
    },
)
_RECENT_EVENTS = _kind("RecentEvents", {"events": _STORED_EVENT(many=True), "sampled": serializers.BooleanField()})
_DELIVERY = OpenApiParameter(
    "delivery",
    str,
    enum=["async", "ack", "fire_and_forget"],
    description="`ack` waits for Kafka and answers 200 when it has everything; `fire_and_forget` is not journaled.",
)
_ENCODING = OpenApiParameter("Content-Encoding", str, OpenApiParameter.HEADER, enum=["gzip", "deflate", "zstd"])
_IDEMPOTENCY = [
    OpenApiParameter(
        "Idempotency-Key",
        str,
        OpenApiParameter.HEADER,
        description="1 to 255 printable ASCII characters. Where the plan has it, a repeated request is answered as the "
        "first time and not taken again; needs a Content-Length.",
    ),
    OpenApiParameter(
        "Idempotency-Status",
        str,
        OpenApiParameter.HEADER,
        enum=["replayed", "unchecked", "unsupported"],
        response=[200, 202],
        description="`replayed`: the answer of the first time. `unchecked`: it could not be asked or noted whether it "
        "came before. `unsupported`: the plan has no Idempotency-Key. Absent: checked and new, or nothing to check.",
    ),
]
_REFUSALS = {
    400: "Nothing was accepted; `code` says why.",
    401: "No valid key.",
    403: "The key is not for this.",
    405: "Not a method of this address; see Allow.",
    409: "The same request, or one of its events, is not answered yet; see Retry-After. Or its answer was not kept.",
    411: "An Idempotency-Key needs a Content-Length.",
    413: "Over a limit of size.",
    415: "Unknown Content-Encoding.",
    422: "Kafka refused all of it for good (only with delivery=ack), or the Idempotency-Key came with another request.",
    429: "A quota is used up; see Retry-After.",
    500: "A defect of Forebay; send it again.",
    503: "Cannot be taken now; see Retry-After.",
}


def _refusals(*statuses: int) -> dict[Any, Any]:
    return {(status, PROBLEM): OpenApiResponse(_PROBLEM, description=_REFUSALS[status]) for status in statuses}


_EXAMPLE = {"source": "checkout", "level": "INFO", "message": "order 17 paid", "metadata": {"order": 17}}
# One or the other; requirement objects, though the annotation of extend_schema asks for names.
_SECURITY: Any = [{"bearer": []}, {"apiKey": []}]

SINGLE = extend_schema(
    operation_id="send_event",
    summary="Send one event",
    request=_EVENT,
    parameters=[_DELIVERY, _ENCODING, *_IDEMPOTENCY],
    responses={
        202: OpenApiResponse(_ACCEPTED, description="It is in the journal."),
        200: OpenApiResponse(_ACCEPTED, description="Kafka has it."),
    }
    | _refusals(*_REFUSALS),
    examples=[OpenApiExample("event", _EXAMPLE, request_only=True)],
    auth=_SECURITY,
)
BATCH = extend_schema(
    operation_id="send_events",
    summary="Send many events, as a JSON array or NDJSON",
    request={
        "application/json": _EVENT(many=True),
        "application/x-ndjson": OpenApiTypes.STR,
    },
    parameters=[_DELIVERY, _ENCODING, *_IDEMPOTENCY],
    responses={
        202: OpenApiResponse(_BATCH_ANSWER, description="All are in the journal."),
        200: OpenApiResponse(_BATCH_ANSWER, description="Kafka has all of them."),
        207: OpenApiResponse(_BATCH_ANSWER, description="Some were not accepted; `errors` says which and why."),
    }
    | _refusals(*_REFUSALS),
    auth=_SECURITY,
)
RECENT = extend_schema(
    operation_id="recent_events",
    summary="A sample of your own recent events",
    responses={200: OpenApiResponse(_RECENT_EVENTS, description="Newest first.")}
    | _refusals(401, 403, 405, 429, 500, 503),
    auth=_SECURITY,
)
_DEAD_LETTER = _kind(
    "DeadLetter",
    {
        "eventId": serializers.CharField(),
        "status": serializers.ChoiceField(["waiting", "exhausted", "replayed", "discarded"]),
        "fault": serializers.CharField(help_text="Whose fault it was: cluster, topic or record."),
        "code": serializers.CharField(help_text="librdkafka's name of the last error."),
        "detail": serializers.CharField(),
        "topic": serializers.CharField(),
        "acceptedAt": serializers.DateTimeField(),
        "deadAt": serializers.DateTimeField(),
        "attempts": serializers.IntegerField(),
        "possibleCopies": serializers.IntegerField(help_text="Times it was sent and nobody heard what became of it."),
        "nextAttemptAt": serializers.DateTimeField(allow_null=True),
        "endedAt": serializers.DateTimeField(allow_null=True, help_text="When it was replayed or discarded."),
        "replayed": inline_serializer("ReplayedTo", _place_fields(), allow_null=True),
        "edited": serializers.BooleanField(help_text="Whether an operator has changed the event."),
        "event": _STORED_EVENT(required=False),
        "value": serializers.CharField(required=False, help_text="Instead of `event` where it is no JSON."),
        "valueBase64": serializers.CharField(required=False, help_text="Instead of `value` where it is no text."),
    },
)
_DEAD_LETTER_PAGE = _kind(
    "DeadLetterPage",
    {
        "deadLetters": _DEAD_LETTER(many=True),
        "nextCursor": serializers.CharField(allow_null=True, help_text="For the next page; null on the last."),
    },
)
DEAD_LETTERS = extend_schema(
    operation_id="dead_letters",
    summary="Your own events that could not be delivered",
    parameters=[
        OpenApiParameter("limit", int, description="1 to 200, 50 when absent; a page of large events may be shorter."),
        OpenApiParameter("cursor", str, description="The `nextCursor` of the page before."),
        OpenApiParameter("status", str, enum=["waiting", "exhausted", "replayed", "discarded"]),
    ],
    responses={200: OpenApiResponse(_DEAD_LETTER_PAGE, description="Newest first.")}
    | _refusals(400, 401, 403, 405, 429, 500, 503),
    auth=_SECURITY,
)


def _counts_by(help_text: str) -> serializers.DictField:
    return serializers.DictField(child=serializers.IntegerField(), help_text=help_text)


def _ledger_fields(dead_lettered: serializers.Field[Any, Any, Any, Any]) -> Fields:
    return {
        "received": serializers.IntegerField(help_text="accepted + rejected"),
        "accepted": serializers.IntegerField(
            help_text="delivered + dropped + dead_lettered + discarded + pending",
        ),
        "rejected": _counts_by("By reason."),
        "delivered": serializers.IntegerField(),
        "dropped": _counts_by("By reason."),
        "dead_lettered": dead_lettered,
        "discarded": _counts_by("By whom or which policy, before it became a dead letter."),
        "pending": serializers.IntegerField(),
    }


_DEAD_LETTERED = _kind(
    "DeadLettered",
    {
        "total": serializers.IntegerField(),
        "waiting": serializers.IntegerField(),
        "replayed": serializers.IntegerField(),
        "discarded": serializers.IntegerField(),
        "no_longer_kept": serializers.IntegerField(help_text="Replayed or discarded, and older than the retention."),
    },
)
_USAGE_STEP = _kind("UsageStep", {"from": serializers.DateTimeField(), **_ledger_fields(serializers.IntegerField())})
_WITHOUT_WORKER = _kind(
    "PendingWithoutWorker",
    {
        "pending": serializers.IntegerField(),
        "for_s": serializers.FloatField(help_text="Since the worker was last heard of."),
    },
)
_USAGE = _kind(
    "Usage",
    {
        "tenant": serializers.CharField(),
        "from": serializers.DateTimeField(),
        "to": serializers.DateTimeField(),
        "as_of": serializers.DateTimeField(allow_null=True, help_text="Everything up to then is in it."),
        "total": _kind("UsageTotal", _ledger_fields(_DEAD_LETTERED()))(),
        "steps": _USAGE_STEP(many=True, help_text="Those in which something was received."),
        "pending_without_worker": _WITHOUT_WORKER(many=True, help_text="What waits for a worker to come back."),
    },
)
USAGE = extend_schema(
    operation_id="usage",
    summary="What became of your own events",
    parameters=[
        OpenApiParameter("from", OpenApiTypes.DATETIME, description="RFC 3339 with a zone; 24 steps ago when absent."),
        OpenApiParameter("to", OpenApiTypes.DATETIME, description="RFC 3339 with a zone; now when absent."),
        OpenApiParameter("step", str, enum=["minute", "hour", "day"], description="`hour` when absent; UTC."),
    ],
    responses={200: OpenApiResponse(_USAGE, description="By the time of acceptance.")}
    | _refusals(400, 401, 403, 405, 429, 500, 503),
    auth=_SECURITY,
)
