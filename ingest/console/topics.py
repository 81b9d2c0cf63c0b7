"""One topic: its breaker, who is behind with how much and how old, who is parked, and what of it died."""

import re
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render as render_part
from django.utils import timezone

from ingest.console.breakers import PERMISSION, WORDS_SHOWN, history
from ingest.console.breakers_facts import breaker_facts
from ingest.console.breakers_look import look_now
from ingest.console.breakers_topics import topic_rows, waiting_of
from ingest.console.breakers_words import newest_word, taken
from ingest.console.pages import console_page, render
from ingest.dead_letters.selection import OPEN, letters_by_cause
from ingest.models import DeadLetter, Override

WAITING_SHOWN = 200
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@console_page(PERMISSION)
def topic(request: HttpRequest, topic: str) -> HttpResponse:
    """The whole page, complete without a script."""
    causes = letters_by_cause(letters=DeadLetter.objects.filter(topic=topic, status__in=OPEN))
    return render(request, "console/topic.html", f"Topic {topic}", causes=causes, **_now(request, topic))


@console_page(PERMISSION)
def topic_live(request: HttpRequest, topic: str) -> HttpResponse:
    """What htmx swaps in every five seconds."""
    return render_part(request, "console/topic_live.html", _now(request, topic))


def _now(request: HttpRequest, topic: str) -> dict[str, Any]:
    if not _NAME.fullmatch(topic):
        raise Http404("No topic of Kafka is called so.")
    look = look_now()
    waiting = waiting_of(look, topic) if look else []
    return {
        "topic": topic,
        "look": look,
        "as_of": timezone.now(),
        "row": next((row for row in topic_rows(look, topic) if row.topic == topic), None) if look else None,
        "rules": [rule.name for rule in look.header.rules if rule.topic == topic] if look and look.header else [],
        "breaker": breaker_facts(look, topic) if look else None,
        "cluster": look.standing("") if look else None,
        "taken": taken(look, newest_word(topic=topic)),
        "parked": [one for one in waiting if one.is_parked],
        "behind": [one for one in waiting if not one.is_parked][:WAITING_SHOWN],
        "events": sum(one.events for one in waiting),
        "words": Override.objects.filter(topic=topic)[:WORDS_SHOWN],
        **history(request, look, topic),
    }
