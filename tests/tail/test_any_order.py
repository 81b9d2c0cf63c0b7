"""Rotations, kills and turns of the tailer in any order: each line arrives, under one id."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tail.rotations import copytruncate, pack, rename
from tests.tail.world import World, numbered

STEPS = st.lists(
    st.sampled_from(["write", "write", "write", "turn", "turn", "rename", "copytruncate", "pack", "kill", "scan"]),
    min_size=5,
    max_size=40,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.integers(1, 200), st.booleans(), st.sampled_from([1, 2, 500]))
def test_whatever_happens_in_whatever_order_each_line_has_one_id(
    steps: list[str], at_once: int, saves: bool, max_open_files: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        checkpoint_s = 0.0 if saves else 1000.0
        world = World(
            Path(directory),
            batch_events=50,
            close_after_s=2,
            checkpoint_s=checkpoint_s,
            max_open_files=max_open_files,
        )
        written = 0
        for step in ["write", *steps]:
            if step == "write":
                world.lines(*range(written, written + at_once))
                written += at_once
            elif step == "turn":
                (world._tailer or world.tailer()).turn()
            elif step == "scan":
                world._tailer or world.tailer()
                world.turn_for(3)
            elif step == "kill":
                world.kill()
            elif step == "pack" and (world.logs / "app.log.1").exists():
                pack(world.logs / "app.log.1")
            elif step in ("rename", "copytruncate") and world.log.exists() and world.log.stat().st_size:
                {"rename": rename, "copytruncate": copytruncate}[step](world.log)
        world.settle()
        world.settle()

        ids = {event["eventId"]: event["message"] for event in world.sink.events}
        assert sorted(ids.values()) == sorted(numbered(*range(written)))
