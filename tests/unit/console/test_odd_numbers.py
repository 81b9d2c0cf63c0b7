"""Numbers that no row can have, in every place of the console that takes one: answered, and never an error of ours."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from ingest.console.pages import number_of

pytestmark = pytest.mark.django_db
LETTERS = "/admin/ingest/deadletter/"
ODD = ["9" * 5_000, "9" * 23, "٣", "-1", ""]


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.mark.parametrize("text", ODD)
def test_it_is_no_number(text: str) -> None:
    assert number_of(text) is None
    assert number_of("17") == 17


@pytest.mark.parametrize("number", ODD)
@pytest.mark.parametrize("path", [LETTERS, "/admin/ingest/bulkreplay/", "/admin/ingest/quarantinedevent/"])
def test_a_page_before_it_is_the_first(operator: Client, path: str, number: str) -> None:
    assert operator.get(path, {"before": number}).status_code == 200


@pytest.mark.parametrize("number", ODD)
@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{LETTERS}replay/", "letter"),
        (f"{LETTERS}discard/", "letter"),
        ("/admin/ingest/quarantinedevent/delete/", "event"),
    ],
)
def test_a_row_of_it_is_none_that_was_chosen(operator: Client, path: str, name: str, number: str) -> None:
    assert operator.get(path, {name: number}).status_code in (302, 404)


@pytest.mark.parametrize("number", ODD)
def test_a_place_of_it_is_no_place(operator: Client, number: str) -> None:
    answer = operator.post("/admin/rules/1/move/", {"place": number}, follow=True)

    assert "A place is a number" in answer.content.decode()
