"""The OpenAPI document is valid and complete: both routes, both ways to send a key, every status a caller may meet."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command

from ingest.dataplane.errors import REFUSALS


@pytest.fixture(scope="module")
def document() -> Any:
    """Generated as `manage.py spectacular` does, which fails here on any warning."""
    out = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
    return json.loads(out.getvalue())


def test_the_document_names_the_ingest_routes(document: Any) -> None:
    operations = {(path, method) for path, item in document["paths"].items() for method in item}

    assert operations == {
        ("/api/logs", "post"),
        ("/api/logs", "get"),
        ("/api/logs/batch", "post"),
        ("/api/usage", "get"),
        ("/api/dead-letters", "get"),
    }


def test_every_operation_takes_a_key_in_either_way(document: Any) -> None:
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["security"] == [{"bearer": []}, {"apiKey": []}]


@pytest.mark.parametrize("path", ["/api/logs", "/api/logs/batch"])
def test_every_refusal_of_the_table_is_in_the_document(document: Any, path: str) -> None:
    responses = document["paths"][path]["post"]["responses"]

    for refused in REFUSALS:
        assert "application/problem+json" in responses[str(refused.status)]["content"]
