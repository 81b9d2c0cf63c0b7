"""A world for each test of dead letters."""

from pathlib import Path

import pytest

from tests.unit.dead_letters.world import World


@pytest.fixture
def world(tmp_path: Path, db: None) -> World:
    return World(tmp_path)
