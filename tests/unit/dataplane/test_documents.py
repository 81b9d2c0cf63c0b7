"""A body is taken apart into the same events by the same indexes as the decoder counts them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane import documents
from ingest.dataplane.event import decode_many

EVENT = {"source": "checkout", "level": "INFO", "message": "paid"}
events = st.lists(
    st.one_of(st.just(EVENT), st.builds(lambda text: EVENT | {"message": text}, st.text(max_size=5)), st.integers()),
    min_size=1,
    max_size=8,
)
blanks = st.sampled_from(["", "\n", " \n", "\r\n\n"])


@given(sent=events)
def test_the_elements_of_an_array_are_found_by_index(sent: list[object]) -> None:
    found = [json.loads(bytes(document)) for document in documents.many(json.dumps(sent).encode())]

    assert found == sent


@given(sent=events, before=blanks, between=blanks)
def test_the_lines_of_ndjson_are_found_by_the_decoders_index(sent: list[object], before: str, between: str) -> None:
    body = (before + f"\n{between}".join(json.dumps(event) for event in sent)).encode()

    found = list(documents.many(body))

    assert [json.loads(bytes(document)) for document in found] == sent
    assert {index: json.loads(bytes(found[index])) for index in decode_many(body, 10).rejected} == {
        index: event for index, event in enumerate(sent) if isinstance(event, int)
    }


@pytest.mark.parametrize("body", [b"[{},", b"[\xff]", b"[" * 100_000])
def test_an_array_that_cannot_be_taken_apart_is_one_document(body: bytes) -> None:
    assert list(documents.many(body)) == [body]


def test_a_single_event_is_its_body() -> None:
    assert list(documents.one(b"[not an event]")) == [b"[not an event]"]
