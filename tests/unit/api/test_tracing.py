"""The correlation id: the sender's own where it can be one, else a new one."""

import re

import pytest

from ingest.api.tracing import correlation_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize("given", ["order-17", "x", "~" * 255, "{a}:b/c"])
def test_the_senders_id_is_taken(given: str) -> None:
    assert correlation_id({"HTTP_X_CORRELATION_ID": given, "HTTP_TRACEPARENT": TRACEPARENT}) == given


@pytest.mark.parametrize("given", ["", " ", "two words", "a\nb", "x\r\nSet-Cookie: a=b", "x" * 256, "caf\xe9", "\x7f"])
def test_an_id_that_could_do_harm_is_not_taken(given: str) -> None:
    assert correlation_id({"HTTP_X_CORRELATION_ID": given, "HTTP_TRACEPARENT": TRACEPARENT}) == TRACE


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        TRACEPARENT.upper(),
        TRACEPARENT[:-1],
        TRACEPARENT + "-x",
        TRACEPARENT.replace("f", "g"),
        "\n" + TRACEPARENT,
    ],
)
def test_a_trace_that_is_none_gives_a_new_id(traceparent: str) -> None:
    made = correlation_id({"HTTP_TRACEPARENT": traceparent})

    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert made != TRACE


def test_every_request_without_an_id_gets_its_own() -> None:
    assert len({correlation_id({}) for _ in range(1_000)}) == 1_000
