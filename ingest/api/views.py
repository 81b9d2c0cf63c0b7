"""The ingest routes: one way through for each request, whether the lane or Django's own handler brought it.

HTTP side of the event path; request threads. DRF's initial(), negotiation and parsers do not run: its class attributes
and the decorators serve the OpenAPI document.
"""

import time
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from ingest.api import body
from ingest.api.addresses import client_address
from ingest.api.admission import admit
from ingest.api.problems import problem
from ingest.api.recent import recent_events
from ingest.api.schema import BATCH, RECENT, SINGLE
from ingest.api.tracing import correlation_id
from ingest.dataplane import metrics
from ingest.dataplane.acks import Result
from ingest.dataplane.errors import BadRequest, MethodNotAllowed, Refused, quota_refused
from ingest.dataplane.event import decode_many, decode_one
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.pipeline import Arrival, Decode
from ingest.dataplane.routing import Delivery
from ingest.protocols.native import Answer, answer_many, answer_one
from ingest.worker import Worker, worker

DELIVERIES = {"": "", "delivery=async": Delivery.ASYNC, "delivery=ack": Delivery.ACK}


class Format(NamedTuple):
    """A wire format: how a body becomes events, and how the outcome becomes an answer."""

    dialect: str
    decode: Decode
    answer: Callable[[Outcome, dict[int, Result]], Answer]


class LaneView(APIView):
    """Admit, read, accept, wait, answer: the path of a request. Its subclasses name the format and the answer."""

    route: ClassVar[str]
    format: ClassVar[Format]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The whole way of a request; nothing raised in here is unknown to the error table."""
        started_s = time.perf_counter()
        self.headers: dict[str, str] = {}
        self.correlation_id = correlation_id(request.META)
        try:
            response = self._handle(request)
        except Refused as refused:
            response = problem(refused)
        response.headers["X-Correlation-ID"] = self.correlation_id
        metrics.http_requests(self.route, response.status_code).inc()
        metrics.http_request_seconds(self.route).observe(time.perf_counter() - started_s)
        return response

    def _handle(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            return self.post(request)
        raise MethodNotAllowed("method_not_allowed", "Events are sent with POST")

    def post(self, request: HttpRequest) -> HttpResponse:
        """See docs/event-path.md for what each line may refuse."""
        meta, node = request.META, worker()
        delivery = DELIVERIES.get(meta["QUERY_STRING"])
        if delivery is None:
            raise BadRequest("unknown_delivery", "The query may say delivery=async or delivery=ack, and nothing else")
        address = client_address(meta, node.trusted_proxies)
        caller = admit(meta, node, "ingest", address)
        tenant = caller.tenant
        allowance = node.book.allowance(tenant.name, tenant.quota, str(caller.key.key_id), caller.key.quota)
        refusal = allowance.exhausted()
        if refusal is not None:
            raise quota_refused(refusal)

        max_bytes = node.body_max_bytes
        node.body_budget.take(tenant.name)
        try:
            raw = body.read(meta["wsgi.input"], meta.get("CONTENT_LENGTH", ""), max_bytes)
        finally:
            node.body_budget.give_back(tenant.name)
        content = body.decompress(raw, meta.get("HTTP_CONTENT_ENCODING", ""), max_bytes)
        if not content or content.isspace():
            raise BadRequest("empty_body", "The body is empty; send an event")

        arrival = Arrival(caller, allowance, node.topics, self.format.dialect, address, self.correlation_id, delivery)
        with node.lane_lock:
            outcome = node.pipeline.accept(self.format.decode, content, arrival)
        results = self._wait(node, tenant.name, outcome)
        status, text = self.format.answer(outcome, results)
        return HttpResponse(text, content_type="application/json", status=status)

    def _wait(self, node: Worker, tenant: str, outcome: Outcome) -> dict[int, Result]:
        if outcome.waits_for is None:
            if outcome.wanted_ack:
                metrics.ACK_REQUESTS.labels("not_waited").inc()
            return {}
        try:
            results = outcome.waits_for.wait(settings.FOREBAY_ACK_TIMEOUT_S)
        finally:
            node.ack_budget.give_back(tenant)
        metrics.ACK_REQUESTS.labels("reported" if len(results) == len(outcome.record_indexes) else "timed_out").inc()
        return results


class LogView(LaneView):
    """One event in; the tenant's own recent events out."""

    route = "logs"
    format = Format("native", decode_one, answer_one)

    def _handle(self, request: HttpRequest) -> HttpResponse:
        return self.get(request) if request.method == "GET" else super()._handle(request)

    post = SINGLE(LaneView.post)

    @RECENT
    def get(self, request: HttpRequest) -> HttpResponse:
        """A bounded sample, newest first; needs the scope `read`."""
        node = worker()
        caller = admit(request.META, node, "read", client_address(request.META, node.trusted_proxies))
        return recent_events(node.redis, caller.tenant.name)


class BatchView(LaneView):
    """Many events in: a JSON array or NDJSON."""

    route = "logs_batch"
    format = Format("native", decode_many, answer_many)
    post = BATCH(LaneView.post)
