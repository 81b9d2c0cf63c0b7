"""docs/runbook.md as the console's page shows it: a section for each heading, under the anchor that GitHub gives it."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

# What looks like HTML stays text.
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")
_CLASSES: Final = {"table_open": "fb-table", "ordered_list_open": "fb-steps", "code_inline": "fb-code"}


class Section(NamedTuple):
    """What stands under one heading; `level` 1 is a part of the book, 2 is one alert or fault."""

    title: str
    anchor: str
    level: int
    html: SafeString


def sections_of(markdown: str) -> list[Section]:
    """In their order."""
    tokens = _MARKDOWN.parse(markdown)
    heads = [at for at, token in enumerate(tokens) if token.type == "heading_open"]
    return [_section(tokens[at:end]) for at, end in zip(heads, [*heads[1:], len(tokens)], strict=True)]


def anchor_of(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _section(tokens: Sequence[Token]) -> Section:
    opening, heading, _, *body = tokens
    html = _MARKDOWN.renderer.render(list(_styled(body)), _MARKDOWN.options, {})
    return Section(heading.content, anchor_of(heading.content), int(opening.tag[1:]), mark_safe(html))  # noqa: S308


def _styled(tokens: Sequence[Token]) -> Iterator[Token]:
    """With the console's classes; a link to another file is its text."""
    is_within = True
    for token in tokens:
        if token.type in _CLASSES:
            token.attrSet("class", _CLASSES[token.type])
        if token.type == "link_open":
            is_within = str(token.attrGet("href")).startswith("#")
        if token.children:
            token.children = list(_styled(token.children))
        if is_within or token.type not in ("link_open", "link_close"):
            yield token
