"""What looks secret or personal is masked, what does not is left alone, and no text takes long."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.redaction import redact
from tenants import api_keys

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
SIZE = 12_000


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("bob.smith+logs@example.co.uk paid", "[email] paid"),
        ("<müller@exämple.de>", "<[email]>"),
        (f"with {api_keys.issue().secret}.", "with [key]."),
        (f"id_{JWT}", "id_[token]"),
        (f"{JWT[:50]}", "[token]"),
        ("Bearer abcdefgh12345678", "Bearer [token]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: [secret]"),
        ("postgres://user:pw@db/logs", "postgres://[credentials]@db/logs"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "[key]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----!", "[private key]!"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "[private key]"),
        ("card 4111 1111 1111 1111", "card [card]"),
        ("378282246310005", "[card]"),
        ("to DE89370400440532013000", "to [iban]"),
        ("to GB29 NWBK 6016 1331 9268 19 now", "to [iban] now"),
        ("password=hunter2&user=bob", "password=[secret]&user=bob"),
        ("login pwd: hunter2, again", "login pwd: [secret], again"),
        ('clientSecret = "two words" kept', 'clientSecret = "[secret]" kept'),
        ("{'api_key': 'x y'}", "{'api_key': '[secret]'}"),
        ('{"db_password":"a\\"b","n":1}', '{"db_password":"[secret]","n":1}'),
        ('{"pin": 1234, "n": 1}', '{"pin": [secret], "n": 1}'),
        ('{"password":"cut in the mid', '{"password":"[secret]'),
    ],
)
def test_what_looks_secret_is_masked(text: str, masked: str) -> None:
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        '{"source":"checkout","level":"INFO","message":"order 17 paid","timestamp":1700000000000}',
        "4111 1111 1111 1112 is no card",
        "DE89370400440532013001 is no account",
        "GET https://example.com/a@b?x=1 200 shipping: north",
        "2026-11-22T21:33:48.139Z 192.0.2.7 01a2052d-f6eb-701b-a842-76fbee0377b8",
        "bearer of news",
    ],
)
def test_what_does_not_is_left_alone(text: str) -> None:
    assert redact(text) == text


@given(secret=st.text(st.characters(codec="utf-8"), min_size=12).filter(lambda text: text.strip() == text))
def test_a_password_in_json_is_masked_whatever_it_is(secret: str) -> None:
    event = json.dumps({"message": "m", "metadata": {"password": secret}})

    assert json.loads(redact(event)) == {"message": "m", "metadata": {"password": "[secret]"}}


@pytest.mark.parametrize("separator", ["=", ": "])
def test_a_password_in_a_message_inside_of_json_is_masked(separator: str) -> None:
    event = json.dumps({"message": f'login with password{separator}"hunter2 hunter3" failed'})

    assert json.loads(redact(event)) == {"message": f'login with password{separator}"[secret]" failed'}


@pytest.mark.parametrize(
    "part",
    [
        *("a", "a@", "a.", "A@b.", "4", "4111-", "AB12 ", "eyJ", "://", "bearer ", "sk-", "\\", '"'),
        *("password", 'token="', 'token="\\', "token:", "token ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN "),
    ],
)
def test_no_text_takes_long(part: str) -> None:
    text = part * (SIZE // len(part))
    began_s = time.process_time()

    redact(text)
    redact(f'"token":"{text}')

    # A pattern that goes back over the text would need seconds for these.
    assert time.process_time() - began_s < 0.5
