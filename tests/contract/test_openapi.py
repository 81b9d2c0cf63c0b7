"""What the OpenAPI document promises is what is recorded: each request that is taken, and each answer."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from tests.contract.exchanges import Exchange, recorded

EXCHANGES = list(recorded())


@pytest.fixture(scope="session")
def document() -> Any:
    out = io.StringIO()
    call_command("spectacular", "--format", "openapi-json", stdout=out)
    return json.loads(out.getvalue())


def operation_of(document: Any, exchange: Exchange) -> Any:
    path = document["paths"][exchange.request["path"].rstrip("/")]
    return path.get(exchange.request.get("method", "POST").lower(), path["post"])


def complaints(document: Any, schema: Any, value: Any) -> list[str]:
    whole = _as_json_schema(schema | {"components": document["components"]})
    return [error.message for error in Draft7Validator(whole).iter_errors(value)]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
def test_a_recorded_answer_is_as_the_document_says(document: Any, exchange: Exchange) -> None:
    answer = exchange.answer
    content = operation_of(document, exchange)["responses"][str(answer["status"])]["content"]

    schema = content[answer["headers"]["Content-Type"]]["schema"]

    assert complaints(document, schema, _placed(answer["body"])) == []
    assert complaints(document, schema, {}) != []  # it would notice


TAKEN = [
    exchange
    for exchange in EXCHANGES
    if exchange.answer["status"] in (200, 202) and isinstance(exchange.request.get("body"), dict | list)
]


@pytest.mark.parametrize("exchange", TAKEN, ids=[exchange.name for exchange in TAKEN])
def test_a_request_that_is_taken_is_as_the_document_says(document: Any, exchange: Exchange) -> None:
    schema = operation_of(document, exchange)["requestBody"]["content"]["application/json"]["schema"]
    body = exchange.request["body"]
    if schema.get("type") == "array" and isinstance(body, dict):
        body = [body]  # one event is a line of NDJSON

    assert complaints(document, schema, body) == []


def test_the_documents_own_examples_fit(document: Any) -> None:
    content = document["paths"]["/api/logs"]["post"]["requestBody"]["content"]["application/json"]

    examples = [example["value"] for example in content["examples"].values()]

    assert examples
    for example in examples:
        assert complaints(document, content["schema"], example) == []


def _placed(body: Any) -> Any:
    """A recording has names in place of some numbers."""
    text = json.dumps(body)
    return json.loads(text.replace('"<offset>"', "0").replace('"<reset_s>"', "0"))


def _as_json_schema(schema: Any) -> Any:
    """OpenAPI 3.0 says `nullable` where JSON Schema has a type for it."""
    if isinstance(schema, list):
        return [_as_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _as_json_schema(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [{"type": "null"}, made]} if schema.get("nullable") is True else made
