"""What the OpenAPI document says of the ingest routes; read when somebody asks for it, never on the event path."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers

_EVENT_FIELDS: dict[str, serializers.Field[Any, Any, Any, Any]] = {
    "source": serializers.CharField(max_length=255, help_text="What sends: a service, a host, a file."),
    "level": serializers.CharField(help_text="TRACE DEBUG INFO WARN ERROR FATAL, any case, usual aliases, or 0 to 7."),
    "message": serializers.CharField(),
    "eventId": serializers.CharField(max_length=128, required=False, help_text="A UUIDv7 is made when absent."),
    "timestamp": serializers.CharField(
        required=False, help_text="RFC 3339 or epoch milliseconds; arrival when absent."
    ),
    "hostname": serializers.CharField(max_length=255, required=False, help_text="The peer's address when absent."),
    "correlationId": serializers.CharField(max_length=255, required=False),
    "metadata": serializers.DictField(required=False, help_text="At most 64 names with a scalar each."),
    "stackTrace": serializers.CharField(required=False),
}
_EVENT = inline_serializer("Event", dict(_EVENT_FIELDS))
_PROBLEM = inline_serializer(
    "Problem",
    {
        "type": serializers.CharField(),
        "title": serializers.CharField(),
        "status": serializers.IntegerField(),
        "code": serializers.CharField(help_text="Stable; docs/errors.md lists them."),
        "detail": serializers.CharField(),
    },
)
_REJECTION = inline_serializer(
    "Rejection",
    {
        "index": serializers.IntegerField(),
        "eventId": serializers.CharField(allow_null=True),
        "code": serializers.CharField(),
        "detail": serializers.CharField(),
        "retryable": serializers.BooleanField(),
    },
    many=True,
)
_ACCEPTED = inline_serializer(
    "Accepted",
    {
        "eventId": serializers.CharField(),
        "status": serializers.ChoiceField(["Accepted", "Delivered", "Pending"]),
        "timestamp": serializers.DateTimeField(),
        "topic": serializers.CharField(required=False),
        "partition": serializers.IntegerField(required=False),
        "offset": serializers.IntegerField(required=False),
    },
)
_BATCH_ANSWER = inline_serializer(
    "BatchAnswer",
    {
        "accepted": serializers.IntegerField(),
        "failed": serializers.IntegerField(),
        "timestamp": serializers.DateTimeField(),
        "errors": _REJECTION,
    },
)
_DELIVERY = OpenApiParameter(
    "delivery", str, enum=["async", "ack"], description="`ack` waits for Kafka and answers 200 when it has everything."
)
_ENCODING = OpenApiParameter("Content-Encoding", str, OpenApiParameter.HEADER, enum=["gzip", "deflate", "zstd"])
_REFUSALS = {
    (status, "application/problem+json"): OpenApiResponse(_PROBLEM, description=description)
    for status, description in {
        400: "Nothing was accepted; `code` says why.",
        401: "No valid key.",
        403: "The key is not for this.",
        413: "Over a limit of size.",
        415: "Unknown Content-Encoding.",
        422: "Kafka refused all of it for good (only with delivery=ack).",
        429: "A quota is used up; see Retry-After.",
        503: "Cannot be taken now; see Retry-After.",
    }.items()
}
_EXAMPLE = {"source": "checkout", "level": "INFO", "message": "order 17 paid", "metadata": {"order": 17}}
_SECURITY = ["bearer", "apiKey"]

SINGLE = extend_schema(
    operation_id="send_event",
    summary="Send one event",
    request=_EVENT,
    parameters=[_DELIVERY, _ENCODING],
    responses={202: _ACCEPTED, 200: OpenApiResponse(_ACCEPTED, description="Kafka has it.")} | _REFUSALS,
    examples=[OpenApiExample("event", _EXAMPLE, request_only=True)],
    auth=_SECURITY,
)
BATCH = extend_schema(
    operation_id="send_events",
    summary="Send many events, as a JSON array or NDJSON",
    request={
        "application/json": inline_serializer("Events", dict(_EVENT_FIELDS), many=True),
        "application/x-ndjson": OpenApiTypes.STR,
    },
    parameters=[_DELIVERY, _ENCODING],
    responses={
        202: OpenApiResponse(_BATCH_ANSWER, description="All are in the journal."),
        200: OpenApiResponse(_BATCH_ANSWER, description="Kafka has all of them."),
        207: OpenApiResponse(_BATCH_ANSWER, description="Some were not accepted; `errors` says which and why."),
    }
    | _REFUSALS,
    auth=_SECURITY,
)
RECENT = extend_schema(
    operation_id="recent_events",
    summary="A sample of your own recent events",
    responses={
        200: inline_serializer("RecentEvents", {"events": _EVENT, "sampled": serializers.BooleanField()}),
    }
    | _REFUSALS,
    auth=_SECURITY,
)
