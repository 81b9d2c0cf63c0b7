"""How far each file was read outlives every death, and two never use one directory."""

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay_client.tail.checkpoints import FORGOTTEN_AFTER_S, MARKS_KEPT, Checkpoints, new_state
from forebay_client.tail.failures import TailError
from tests.tail.rotations import pack, rename
from tests.tail.world import World, numbered


def cpu_s_of(work: Callable[[], object]) -> float:
    before_s = time.process_time()
    work()
    return time.process_time() - before_s


def kept(directory: Path) -> Checkpoints:
    checkpoints = Checkpoints(directory)
    checkpoints.close()
    return checkpoints


def test_what_was_saved_is_there_after_the_next_start(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    state = new_state("/var/log/app.log", "0-0-", (1, 2), b"first line\n")
    for position in range(100):
        state.mark(position, b"tail")
    state.offset, state.cuts = 90, [95]
    checkpoints.add(state)
    assert checkpoints.next_generation() == 1
    checkpoints.save(1000.0)
    checkpoints.close()

    again = Checkpoints(tmp_path)

    assert again.states == [state]
    assert len(again.states[0].marks) == MARKS_KEPT
    assert again.next_generation() == 2
    assert oct((tmp_path / "checkpoints.json").stat().st_mode & 0o777) == "0o600"
    again.close()


def test_marks_lie_close_before_the_end_and_ever_farther_apart_before(tmp_path: Path) -> None:
    state = new_state("/var/log/app.log", "0-0-", (1, 2), b"first line\n")
    for position in range(1, 10_001):
        state.mark(position, b"tail")

        positions = [at for at, _ in state.marks]
        assert len(positions) <= MARKS_KEPT
        assert (positions[0], positions[-1]) == (1, position)
        for before, after in itertools.pairwise(positions):
            assert after - before <= max(1, 4 * (position - after)), positions


def test_a_death_while_it_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.add(new_state("/var/log/app.log", "0-0-", (1, 2), b"first line\n"))
    checkpoints.save(1000.0)
    checkpoints.close()
    (tmp_path / "checkpoints.partial").write_text('{"version": 1, "gener')

    assert len(kept(tmp_path).states) == 1


def test_a_second_one_on_the_same_directory_is_refused_with_what_to_do(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)

    with pytest.raises(TailError, match=r"another `forebay tail` uses .* --state"):
        Checkpoints(tmp_path)
    checkpoints.close()

    kept(tmp_path)


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"version": 99}', '{"version": 1, "files": [{}]}'])
def test_one_that_cannot_be_read_ends_the_start_and_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "checkpoints.json"
    path.write_text(content)

    with pytest.raises(TailError, match="move it away"):
        Checkpoints(tmp_path)

    assert path.read_text() == content


def test_thousands_of_known_files_cost_little_more_to_write_than_to_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number in range(5_000):
        state = new_state(f"/var/log/{number}.log", f"{number}-", (1, number), b"first line\n")
        for position in range(MARKS_KEPT):
            state.mark(position, b"tail")
        checkpoints.add(state)

    save_s = min(cpu_s_of(lambda: checkpoints.save(1000.0)) for _ in range(3))
    written = (tmp_path / "checkpoints.json").read_bytes()
    read_s = min(cpu_s_of(lambda: json.loads(written)) for _ in range(3))

    checkpoints.close()
    assert save_s < 3 * read_s, {"save_s": save_s, "read_s": read_s}


def test_of_a_file_that_is_deleted_one_mark_is_enough(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tailer()
    for number in range(20):
        world.lines(number)
        world.turn_for(1)
    rotated = rename(world.log)
    world.turn_for(30)
    packed = pack(rotated)
    data = packed.read_bytes()
    packed.unlink()
    world.run_once()

    (file,) = json.loads((world.state / "checkpoints.json").read_bytes())["files"]
    assert len(file["marks"]) == 1
    packed.write_bytes(data)
    assert world.settle() == numbered(*range(20))
    assert world.sink.copies == 0


def test_a_file_that_was_not_seen_for_long_is_forgotten_and_one_that_is_there_never(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for place in ((1, 2), None):
        state = new_state("/var/log/app.log", f"{place}-", (1, 2), b"first line\n")
        state.place, state.seen_wall_s = place, 1000.0
        checkpoints.add(state)

    checkpoints.save(1000.0 + FORGOTTEN_AFTER_S - 1)
    assert len(checkpoints.states) == 2
    checkpoints.save(1000.0 + FORGOTTEN_AFTER_S + 1)

    assert [state.place for state in checkpoints.states] == [(1, 2)]
    assert len(json.loads((tmp_path / "checkpoints.json").read_bytes())["files"]) == 1
    checkpoints.close()


def test_a_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    with pytest.raises(TailError, match="--state"):
        Checkpoints(tmp_path / "state")
