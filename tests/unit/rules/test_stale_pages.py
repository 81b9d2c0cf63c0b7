"""A page that says what will be lost is not taken for what has come since: it is shown first."""

import re

import pytest

from ingest.models import RuleSet
from tests.unit.rules.conftest import As
from tests.unit.rules.test_pages import EDITOR, hidden, text, url
from tests.unit.rules.world import draft, names, publish

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("name", "arguments"), [("rules_discard", []), ("rules_roll_back", [1])])
def test_what_somebody_else_drafted_meanwhile_is_shown_before_it_is_lost(
    as_: As, name: str, arguments: list[int]
) -> None:
    draft("payments")
    publish()
    draft("audit")
    publish()
    draft("unpublished")
    editor, page = as_(EDITOR), url(name, *arguments)
    seen = hidden(editor, page)
    draft("somebody-elses")

    refused = editor.post(page, seen | {"reason": "was a try"})
    kept = names()
    shown = dict(re.findall(r'name="(base_number|digest)" value="([^"]*)"', refused.content.decode()))
    accepted = editor.post(page, shown | {"reason": "was a try"})

    assert kept == ["payments", "audit", "unpublished", "somebody-elses"]
    assert RuleSet.objects.count() == (3 if arguments else 2)
    assert "The draft has changed since you looked" in text(refused)
    assert "somebody-elses" in text(refused)
    assert accepted.status_code == 302
    assert "somebody-elses" not in names()


def test_a_draft_is_not_discarded_by_somebody_who_has_not_seen_it(as_: As) -> None:
    draft("unpublished")

    as_(EDITOR).post(url("rules_discard"), {"reason": "was a try"})

    assert names() == ["unpublished"]
