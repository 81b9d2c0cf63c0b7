"""What of a dead letter can be searched: its event's words in short, kept beside it, and the condition that finds them.

Control plane. PostgreSQL finds words by their beginning, through an index that migration 0011 makes; SQLite finds
whatever contains them.
"""

import re

import msgspec
from django.db import connection
from django.db.models import BooleanField, F, Func, Q, TextField, Value
from django.db.models.expressions import CombinedExpression

TEXT_CHARACTERS = 2_000
STACK_TRACE_CHARACTERS = 1_000
# PostgreSQL takes `a.b-c` for one word: an operator looks for each of them.
_GLUE = "./-:@_#&+?=~<>"
SEARCHED = f"to_tsvector('simple', translate(%(expressions)s, '{_GLUE}', '{' ' * len(_GLUE)}'))"
"""What is indexed of a letter's text; a condition that is to use the index must say the same."""

_WORD = re.compile(r"[^\W_]+")


class _Spoken(msgspec.Struct, rename="camel"):
    source: str = ""
    message: str = ""
    stack_trace: str | None = None


_spoken = msgspec.json.Decoder(_Spoken)


def text_of(value: bytes) -> str:
    """Source, message and the beginning of the stack trace; of what is no event, its own beginning."""
    try:
        event = _spoken.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _storable(value[:TEXT_CHARACTERS].decode(errors="replace"))
    stack_trace = (event.stack_trace or "")[:STACK_TRACE_CHARACTERS]
    # A long message must not push the stack trace out.
    head = f"{event.source}: {event.message}"[: TEXT_CHARACTERS - len(stack_trace) - 1]
    return _storable(f"{head}\n{stack_trace}" if stack_trace else head)


def _storable(text: str) -> str:
    """PostgreSQL refuses NUL in text, and one refused row would stop all behind it."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:TEXT_CHARACTERS]


def has_words(typed: str) -> Q | CombinedExpression:
    """The condition that a letter's text has all of the words that somebody typed; nothing has no word."""
    words = _WORD.findall(typed)
    if not words:
        return Q(pk__in=[])
    if connection.vendor == "postgresql":
        return _matches(" & ".join(f"'{word}':*" for word in words))
    found = Q()
    for word in words:
        found &= Q(text__icontains=word)
    return found


def _matches(query: str) -> CombinedExpression:
    searched = Func(F("text"), template=SEARCHED, output_field=TextField())
    asked = Func(Value(query), template="to_tsquery('simple', %(expressions)s)", output_field=TextField())
    return CombinedExpression(searched, "@@", asked, output_field=BooleanField())
