"""Every kind of alert has a title, is described, and has a section in the runbook that its link finds."""

from pathlib import Path

import pytest

from ingest.alerts.kinds import TITLES, Kind, severity_of

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_has_a_title_and_its_place_in_the_docs(kind: Kind) -> None:
    described = f"[`{kind}`](runbook.md#{kind})"

    row = next((line for line in (DOCS / "alerts.md").read_text().splitlines() if described in line), "")

    assert TITLES[kind]
    assert row.endswith(f"| {severity_of(kind)} |") or kind is Kind.ALERTS_UNWATCHED
    assert f"\n## {kind}\n" in (DOCS / "runbook.md").read_text()
