"""Which files lie where."""

from pathlib import Path

from forebay_client.tail.places import Places


def test_a_directory_or_a_link_is_in_no_files_place(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "current").symlink_to(log)
    places = Places((), lambda line: None)

    places.scan([str(log)])

    assert [here.path for here in places.found.values()] == [str(log)]
