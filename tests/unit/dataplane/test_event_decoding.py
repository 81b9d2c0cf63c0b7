"""A body becomes events: each bad one is told by its index and code, the good ones beside it go on."""

import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.errors import BadRequest
from ingest.dataplane.event import decode_many, decode_one

GOOD = b'{"source":"checkout","level":"INFO","message":"paid"}'
MANY = 10_000


def refused(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as raised:
        decode_one(body, 1)
    return raised.value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "malformed_json"),
        (GOOD[:-3], "malformed_json"),
        (GOOD + b"x", "malformed_json"),
        (b"\xef\xbb\xbf" + GOOD, "malformed_json"),
        (GOOD.replace(b'"paid"', b"NaN"), "malformed_json"),
        (GOOD.replace(b"paid", b"\xff"), "malformed_json"),
        (GOOD.replace(b"paid", b"\xc3\x28"), "malformed_json"),
        (GOOD.replace(b"paid", b"\\ud800"), "malformed_json"),
        (GOOD.replace(b"paid", b"a\nb"), "malformed_json"),
        (GOOD[:-1] + b',"tenant":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed_json"),
        (b'{"a":' * 100_000, "unknown_field"),
        (b"[" * 100_000, "not_an_object"),
        (b"null", "not_an_object"),
        (b"[1]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"{}", "missing_field"),
        (b'{"source":"a","level":"INFO"}', "missing_field"),
        (GOOD.replace(b'"paid"', b"17"), "invalid_field"),
        (GOOD.replace(b'"paid"', b"null"), "invalid_field"),
        (GOOD.replace(b'"INFO"', b"true"), "invalid_field"),
        (GOOD.replace(b'"INFO"', b"1.5"), "invalid_field"),
        (GOOD.replace(b'"INFO"', b"9" * 5_000), "invalid_field"),
        (GOOD.replace(b'"checkout"', b'""'), "invalid_field"),
        (GOOD.replace(b"checkout", b"c" * 256), "invalid_field"),
        (GOOD[:-1] + b',"eventId":""}', "invalid_field"),
        (GOOD[:-1] + b',"metadata":[]}', "invalid_field"),
        (GOOD[:-1] + b',"metadata":{"a":{}}}', "invalid_field"),
        (GOOD[:-1] + b',"metadata":{"a":1e999}}', "invalid_field"),
        (GOOD[:-1] + b',"metadata":{"a":NaN}}', "malformed_json"),
        (GOOD[:-1] + b',"userName":"x"}', "unknown_field"),
    ],
    ids=lambda value: value[:40].decode("ascii", "replace") if isinstance(value, bytes) else value,
)
def test_a_bad_event_is_refused_with_its_code(body: bytes, code: str) -> None:
    error = refused(body)

    assert (error.status, error.code) == (400, code)


def test_a_source_of_300_characters_is_refused_by_name() -> None:
    error = refused(GOOD.replace(b"checkout", b"c" * 300))

    assert error.code == "invalid_field"
    assert "$.source" in error.detail
    assert "255" in error.detail


def test_an_unknown_field_is_refused_with_a_hint_where_to_put_it() -> None:
    error = refused(GOOD[:-1] + b',"userName":"x"}')

    assert "userName" in error.detail
    assert "metadata" in error.detail


def test_a_reason_does_not_send_back_a_megabyte_of_name() -> None:
    error = refused(GOOD[:-1] + b',"' + b"n" * 1_000_000 + b'":1}')

    assert error.code == "unknown_field"
    assert len(error.detail) < 300


def test_the_last_of_duplicate_keys_counts() -> None:
    events, _, _ = decode_one(GOOD[:-1] + b',"message":"refunded","level":"WARN"}', 1)

    assert (events[0].message, events[0].level) == ("refunded", "WARN")


@pytest.mark.parametrize("value", [b'"bolt"', b"17", b"null", b"[1,2]", b'{"name":"bolt"}', b"true"])
@pytest.mark.parametrize("field", ["tenant", "receivedAt", "receivedBy"])
def test_what_is_ours_may_have_any_type_in_the_body(field: str, value: bytes) -> None:
    events, _, _ = decode_one(GOOD[:-1] + b',"%s":%s}' % (field.encode(), value), 1)

    assert events[0].message == "paid"


def test_metadata_keeps_numbers_of_any_size_as_they_were() -> None:
    text = b'{"order":123456789012345678901234567890,"big":18446744073709551616,"share":0.1,"ok":true,"none":null}'

    events, _, _ = decode_one(GOOD[:-1] + b',"metadata":' + text + b"}", 1)

    assert msgspec.json.encode(events[0].metadata) == text


# --- batches ---------------------------------------------------------------------------------------------------------
def messages(body: bytes, most: int = MANY) -> tuple[list[str], list[int], dict[int, str]]:
    events, indexes, rejected = decode_many(body, most)
    return [event.message for event in events], list(indexes), {at: error.code for at, error in rejected.items()}


def line(message: str) -> bytes:
    return GOOD.replace(b"paid", message.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"[" + line("a") + b"," + line("b") + b"]",
        b" \r\n[" + line("a") + b" ,\n" + line("b") + b"]\n",
        line("a") + b"\n" + line("b"),
        line("a") + b"\n" + line("b") + b"\n",
        line("a") + b"\r\n" + line("b") + b"\r\n",
        b"\n\n" + line("a") + b"\n \t \n\r\n" + line("b") + b"\n\n",
    ],
    ids=["array", "spaced array", "lines", "last newline", "CRLF", "blank lines"],
)
def test_an_array_and_lines_are_the_same_events(body: bytes) -> None:
    assert messages(body) == (["a", "b"], [0, 1], {})


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\n\n", b"\r\n \r\n"], ids=repr)
def test_a_bad_line_has_its_index_and_the_others_go_on(newline: bytes) -> None:
    body = newline.join([line("a"), b'{"source":', line("b"), b"[]", b"\xff", line("c")])

    assert messages(body) == (
        ["a", "b", "c"],
        [0, 2, 5],
        {1: "malformed_json", 3: "not_an_object", 4: "malformed_json"},
    )


def test_a_bad_element_has_its_index_and_the_others_go_on() -> None:
    elements = [line("a"), b"{}", b"1", line("b"), GOOD.replace(b"paid", b"\xff"), line("c")[:-1] + b',"x":1}']

    assert messages(b"[" + b",".join(elements) + b"]") == (
        ["a", "b"],
        [0, 3],
        {1: "missing_field", 2: "not_an_object", 4: "malformed_json", 5: "unknown_field"},
    )


@pytest.mark.parametrize(
    "body",
    [
        b"[" + GOOD,
        b"[" + GOOD + b",]",
        b"[" + GOOD + b"] and more",
        b"[" + GOOD + b" " + GOOD + b"]",
        b"[" * 100_000,
        b"[" + b"[" * 100_000 + b"]" * 100_000 + b"]",
        b"[" + GOOD + b',{"tenant":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    ],
    ids=["cut short", "comma at the end", "garbage behind", "no comma", "depth", "closed depth", "depth in an element"],
)
def test_an_array_whose_events_cannot_be_told_apart_is_refused_whole(body: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        decode_many(body, MANY)

    assert raised.value.code == "malformed_json"


@pytest.mark.parametrize("body", [b"[]", b" [ ] "])
def test_an_empty_array_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        decode_many(body, MANY)

    assert raised.value.code == "empty_batch"


def test_no_more_bad_events_are_looked_at_than_refuse_the_request() -> None:
    lines, array = b"{}\n" * 500_000, b"[" + b"{}," * 400_000 + b"{}]"

    assert len(decode_many(lines, 10).rejected) == 11
    assert len(decode_many(array, 10).rejected) == 11


def test_a_hostile_array_is_refused_before_it_takes_memory() -> None:
    body = b"[" + b"1," * (4 << 20) + b"1]"
    tracemalloc.start()

    with pytest.raises(BadRequest) as raised:
        decode_many(body, MANY)

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert raised.value.code == "malformed_json"
    assert "$[0]" in raised.value.detail
    assert peak_bytes < 2 * len(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
good_events = st.fixed_dictionaries(
    {"source": st.text(min_size=1, max_size=20), "level": st.sampled_from(["INFO", 3]), "message": st.text()},
    optional={"metadata": st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none())},
)
bad_events = json_values.filter(lambda value: not isinstance(value, dict) or "source" not in value)


@given(st.lists(st.tuples(st.booleans(), good_events, bad_events), min_size=1, max_size=8))
def test_every_event_is_either_taken_or_told_by_index(sent: list[tuple[bool, dict[str, object], object]]) -> None:
    documents = [json.dumps(good if is_good else bad) for is_good, good, bad in sent]
    expected = [at for at, (is_good, _, _) in enumerate(sent) if is_good]

    for body in ("[" + ",".join(documents) + "]", "\n".join(documents)):
        if body.lstrip()[:1] == "[" and body == "\n".join(documents):
            continue  # a first line that is an array makes it an array, as documented
        events, indexes, rejected = decode_many(body.encode(), MANY)

        assert list(indexes) == expected
        assert sorted([*indexes, *rejected]) == list(range(len(sent)))
        assert [event.message for event in events] == [sent[at][1]["message"] for at in expected]


@given(st.binary(max_size=200))
def test_no_body_raises_anything_but_a_refusal(body: bytes) -> None:
    for decode in (decode_one, decode_many):
        try:
            decoded = decode(body, MANY)
        except BadRequest:
            continue
        assert decoded.events or decoded.rejected or not body.strip()
