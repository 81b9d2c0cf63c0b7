"""The ingest routes: one way through for each request, whether the lane or Django's own handler brought it.

HTTP side of the event path; request threads. `respond` is that way; a request's META is its WSGI environ. DRF's
initial(), negotiation and parsers do not run: its classes and the decorators serve the OpenAPI document.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import msgspec
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.parsers import JSONParser
from rest_framework.views import APIView

from ingest.api import body
from ingest.api.addresses import client_address
from ingest.api.admission import admit
from ingest.api.answers import Answer
from ingest.api.idempotency import HEADER, Once
from ingest.api.problems import problem
from ingest.api.recent import recent_events
from ingest.api.schema import BATCH, RECENT, SINGLE
from ingest.api.tracing import correlation_id
from ingest.dataplane import documents, metrics
from ingest.dataplane.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    Refused,
    Throttled,
    quota_refused,
)
from ingest.dataplane.event import decode_many, decode_one
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.pipeline import Arrival, Decode
from ingest.dataplane.routing import Delivery
from ingest.intake import take_in
from ingest.protocols.native import answer_many, answer_one
from ingest.quarantine import Documents
from ingest.worker import Worker, worker

log = logging.getLogger(__name__)

Environ = dict[str, Any]
DELIVERIES = {"": "", **{f"delivery={delivery}": delivery.value for delivery in Delivery}}


class Format(NamedTuple):
    """A wire format: how a body becomes events, or the bytes of each, and how the outcome becomes status and JSON."""

    dialect: str
    decode: Decode
    documents: Documents
    answer: Callable[[Outcome], tuple[int, bytes]]


class LaneView(APIView):
    """Admit, read, accept, wait, answer: the path of a request. Its subclasses name the format."""

    route: ClassVar[str]
    format: ClassVar[Format]
    http_methods: ClassVar[tuple[str, ...]] = ("POST",)
    parser_classes = (JSONParser,)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """How Django's handler, and so the test client, comes here."""
        self.headers: dict[str, str] = {}
        return self.respond(request.META).response()

    def respond(self, environ: Environ) -> Answer:
        """The answer to a request; every refusal is in the error table. Keeps no state: one view serves all threads."""
        started_s = time.perf_counter()
        correlation = correlation_id(environ)
        try:
            answer = self._respond(environ, correlation)
        except Refused as refused:
            if isinstance(refused, Throttled):
                _throttled(environ, refused)
            answer = problem(refused)
        except Exception:
            log.exception("request %s failed", correlation)
            answer = problem(InternalError("internal_error", f"A defect of ours; it is logged as {correlation}"))
        metrics.http_requests(self.route, answer.status).inc()
        metrics.http_request_seconds(self.route).observe(time.perf_counter() - started_s)
        headers = (("X-Correlation-ID", correlation), *answer.headers)
        return Answer(answer.status, answer.body, answer.content_type, headers)

    def _respond(self, environ: Environ, correlation: str) -> Answer:
        if environ["REQUEST_METHOD"] != "POST":
            allowed = self.http_methods
            raise MethodNotAllowed("method_not_allowed", f"This address takes {' and '.join(allowed)}", allowed=allowed)
        return self._ingest(environ, correlation)

    def _ingest(self, environ: Environ, correlation: str) -> Answer:
        """See docs/event-path.md for what each line may refuse."""
        node = worker()
        delivery = DELIVERIES.get(environ["QUERY_STRING"])
        if delivery is None:
            raise BadRequest(
                "unknown_delivery", "The query may say delivery=async, ack or fire_and_forget, and nothing else"
            )
        address = client_address(environ, node.trusted_proxies)
        caller = admit(environ, node, "ingest", address)
        tenant = caller.tenant
        node.key_uses[caller.key.key_id] = time.time()
        allowance = node.allowance(caller)
        refusal = allowance.exhausted()
        if refusal is not None:
            raise quota_refused(refusal, tenant.name, is_body_unread=True)

        max_bytes = node.body_max_bytes
        node.body_budget.take(tenant.name)
        try:
            raw = body.read(environ["wsgi.input"], environ.get("CONTENT_LENGTH", ""), max_bytes)
        finally:
            node.body_budget.give_back(tenant.name)
        content = body.decompress(raw, environ.get("HTTP_CONTENT_ENCODING", ""), max_bytes)
        if not content or content.isspace():
            raise BadRequest("empty_body", "The body is empty; send an event")

        form = self.format
        arrival = Arrival(caller, allowance, node.topics, form.dialect, address, correlation, delivery)
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        if key is None and not tenant.deduplicates:
            return Answer(*form.answer(take_in(node, arrival, form.decode, form.documents, content)))
        return self._accept_once(node, arrival, content, key, environ.get("CONTENT_LENGTH", ""))

    def _accept_once(
        self, node: Worker, arrival: Arrival, content: bytes, key: str | None, content_length: str
    ) -> Answer:
        """For those whose plan or header asks for it: what came before is answered as before, or dropped."""
        form, tenant = self.format, arrival.caller.tenant
        with Once(node.claims, tenant.name) as once:
            if key is not None and tenant.idempotency_keys:
                once.name_key(key, content_length, (self.route, arrival.delivery), content)
            elif key is not None:
                once.status = "unsupported"
            if tenant.deduplicates:
                once.name_events(form.decode, content)
            answer = once.claim()
            if answer is None:
                arrival = msgspec.structs.replace(arrival, duplicates=once.duplicates)
                outcome = take_in(node, arrival, form.decode, form.documents, content)
                answer = Answer(*form.answer(outcome))
                once.keep(outcome, answer)
            return msgspec.structs.replace(answer, headers=((HEADER, once.status),)) if once.status else answer


def _throttled(environ: Environ, refused: Throttled) -> None:
    """Operators see who is limited; a sender that comes back keeps its connection."""
    node = worker()
    node.throttles.add(refused)
    if refused.is_body_unread:
        length = environ.get("CONTENT_LENGTH", "")
        body.discard(environ["wsgi.input"], length, node.body_budget, refused.tenant)


class LogView(LaneView):
    """One event in; the tenant's own recent events out."""

    route = "logs"
    format = Format("native", decode_one, documents.one, answer_one)
    http_methods = ("GET", "POST")

    def _respond(self, environ: Environ, correlation: str) -> Answer:
        return self._recent(environ) if environ["REQUEST_METHOD"] == "GET" else super()._respond(environ, correlation)

    def _recent(self, environ: Environ) -> Answer:
        node = worker()
        caller = admit(environ, node, "read", client_address(environ, node.trusted_proxies))
        return recent_events(node.redis, caller.tenant.name)

    @SINGLE
    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Send one event."""
        return self.dispatch(request)

    @RECENT
    def get(self, request: HttpRequest) -> HttpResponseBase:
        """A bounded sample of your own events, newest first; needs the scope `read`."""
        return self.dispatch(request)


class BatchView(LaneView):
    """Many events in: a JSON array or NDJSON."""

    route = "logs_batch"
    format = Format("native", decode_many, documents.many, answer_many)

    @BATCH
    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Send many events."""
        return self.dispatch(request)
