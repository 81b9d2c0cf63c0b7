"""docs/runbook.md as data for a template, which escapes it: headings, paragraphs, steps, tables and commands. Pure.

It reads what that file uses of Markdown and no more; a test reads the whole file and finds no mark left over.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_INLINE = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|\[(?P<label>[^\]]+)\]\((?P<to>[^)\s]+)\)")
_STEP = re.compile(r"\d+\. ")
_FENCE = "```"


class Piece(NamedTuple):
    """Some text of a line: `kind` is text, code, strong or link; `to` begins with # where it leads within the page."""

    kind: str
    text: str
    to: str = ""


Line = Sequence[Piece]


class Block(NamedTuple):
    """`kind` is paragraph (a line), steps (a line each), commands (a line) or table, whose first row is its head."""

    kind: str
    lines: Sequence[Line] = ()
    rows: Sequence[Sequence[Line]] = ()


class Section(NamedTuple):
    """What stands under one heading; `level` 1 is a part of the book, 2 is one alert or fault."""

    title: str
    anchor: str
    level: int
    blocks: Sequence[Block]


def sections_of(markdown: str) -> list[Section]:
    """In their order."""
    found: list[tuple[str, list[str]]] = []
    is_fenced = False
    for line in markdown.splitlines():
        is_fenced ^= line.startswith(_FENCE)
        if line.startswith("#") and not is_fenced:
            found.append((line, []))
        elif found:
            found[-1][1].append(line)
    return [_section(heading, lines) for heading, lines in found]


def anchor_of(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def pieces_of(text: str) -> list[Piece]:
    """Of one line; a link to another file is its text."""
    pieces, at = [], 0
    for match in _INLINE.finditer(text):
        if match.start() > at:
            pieces.append(Piece("text", text[at : match.start()]))
        pieces.append(_marked(match))
        at = match.end()
    return [*pieces, Piece("text", text[at:])] if at < len(text) else pieces


def _marked(match: re.Match[str]) -> Piece:
    if match["code"]:
        return Piece("code", match["code"])
    if match["strong"]:
        return Piece("strong", match["strong"].replace("`", ""))
    label = match["label"].strip("`")
    return Piece("link", label, match["to"]) if match["to"].startswith("#") else Piece("text", label)


def _section(heading: str, lines: Sequence[str]) -> Section:
    marks, _, title = heading.partition(" ")
    return Section(title, anchor_of(title), len(marks), list(_blocks(lines)))


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    for part in _parts(lines):
        if part[0].startswith(_FENCE):
            yield Block("commands", [[Piece("text", "\n".join(part[1:]))]])
        elif part[0].startswith("|"):
            yield Block("table", rows=[_cells(row) for row in part if not set(row) <= set("|-: ")])
        elif _STEP.match(part[0]):
            yield Block("steps", [pieces_of(_STEP.sub("", step, count=1)) for step in _joined(part, _STEP)])
        else:
            yield from (Block("paragraph", [pieces_of(text)]) for text in _joined(part, re.compile(r"\*\*")))


def _parts(lines: Sequence[str]) -> Iterator[list[str]]:
    """Lines that belong together: those between blank ones, and those within a fence."""
    part: list[str] = []
    is_fenced = False
    for line in lines:
        if line.startswith(_FENCE):
            if part:
                yield part
            part = [] if is_fenced else [line]
            is_fenced = not is_fenced
        elif line.strip() or is_fenced:
            part.append(line)
        elif part:
            yield part
            part = []
    if part:
        yield part


def _joined(lines: Sequence[str], begins: re.Pattern[str]) -> list[str]:
    """Broken lines put together again; a new one begins where `begins` matches."""
    texts: list[str] = []
    for line in lines:
        if texts and not begins.match(line):
            texts[-1] += f" {line.strip()}"
        else:
            texts.append(line)
    return texts


def _cells(row: str) -> list[Line]:
    return [pieces_of(cell.strip()) for cell in row.strip().strip("|").split("|")]
