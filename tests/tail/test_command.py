"""What a person types, and what they are told."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from forebay_client.tail import command
from forebay_client.tail.command import main, options_of
from forebay_client.tail.failures import TailError
from forebay_client.tail.options import FILES_NAMES, SHARED_NAMES, Options

ENVIRONMENT = {"FOREBAY_URL": "http://127.0.0.1:8000", "FOREBAY_KEY": "fb_of_the_environment"}
INI = """\
[forebay]
url = https://logs.example.com
key_file = {key}
rescan_s = 5
start_at_end = yes

[files app]
paths = /var/log/app/*.log
        /var/log/other app/**/*.log
source = checkout
format = json

[files web]
paths = /var/log/nginx/access.log*
pattern = ^(?P<client>\\S+) "(?P<message>[^"]*)"
timestamp_format = %d/%b/%Y:%H:%M:%S %z
level = warn
"""


def options(*arguments: str, environment: dict[str, str] | None = None) -> Options:
    parser = ArgumentParser()
    command.add_arguments(parser)
    return options_of(parser.parse_args(arguments), ENVIRONMENT if environment is None else environment)


def test_paths_and_an_environment_are_enough() -> None:
    found = options("app.log", "*.txt")

    assert found.inputs[0].paths == (str(Path.cwd() / "app.log"), str(Path.cwd() / "*.txt"))
    assert (found.url, found.key) == ("http://127.0.0.1:8000", "fb_of_the_environment")


def test_a_file_may_say_it_all(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("fb_of_the_file\n")
    (tmp_path / "tail.ini").write_text(INI.format(key=tmp_path / "key"))

    found = options("--config", str(tmp_path / "tail.ini"))

    assert (found.url, found.key) == ("https://logs.example.com", "fb_of_the_file")
    assert (found.rescan_s, found.start_at_end) == (5.0, True)
    app, web = found.inputs
    assert app.paths == ("/var/log/app/*.log", "/var/log/other app/**/*.log")
    assert (app.source, app.format) == ("checkout", "json")
    assert (web.format, web.level, web.timestamp_format) == ("pattern", "WARN", "%d/%b/%Y:%H:%M:%S %z")


def test_a_flag_goes_before_the_file_and_the_file_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("fb_of_the_file\n")
    (tmp_path / "tail.ini").write_text(INI.format(key=tmp_path / "key"))

    found = options("--config", str(tmp_path / "tail.ini"), "--url", "http://other", "--key", "fb_of_the_flag", "x.log")

    assert (found.url, found.key, len(found.inputs)) == ("http://other", "fb_of_the_flag", 3)


@pytest.mark.parametrize("flag", sorted(FILES_NAMES - {"paths", "multiline_max_lines"}))
def test_a_flag_about_files_that_would_have_no_effect_on_those_of_the_file_is_named(tmp_path: Path, flag: str) -> None:
    (tmp_path / "tail.ini").write_text("[files app]\npaths = x.log\nsource = checkout\n")
    given = {"format": "json", "zone": "utc", "encoding": "latin-1", "multiline": "indent", "long_lines": "cut"}
    arguments = (f"--{flag.replace('_', '-')}", given.get(flag, "100"), "--config", str(tmp_path / "tail.ini"))

    with pytest.raises(TailError, match=f"^{arguments[0]}: of paths on .*/tail.ini$"):
        options(*arguments)

    assert [one.source for one in options(*arguments[2:]).inputs] == ["checkout"]


def test_beside_a_file_such_flags_are_for_the_paths_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "tail.ini").write_text("[files app]\npaths = x.log\n")

    found = options("--config", str(tmp_path / "tail.ini"), "--format", "json", "y.log")

    assert [(Path(one.paths[0]).name, one.format) for one in found.inputs] == [("x.log", "plain"), ("y.log", "json")]


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ((), None, "which files"),
        (("app.log",), {}, "FOREBAY_URL"),
        (("app.log",), {"FOREBAY_URL": "http://x"}, "FOREBAY_KEY"),
        (("app.log", "--pattern", "(("), None, "no regular expression"),
        (("app.log", "--pattern", "x"), None, "named group"),
        (("app.log", "--format", "pattern"), None, "belong together"),
        (("app.log", "--multiline", "start"), None, "belong together"),
        (("app.log", "--level", "loud"), None, "none that Forebay knows"),
        (("app.log", "--max-line-bytes", "7"), None, "not between"),
        (("app.log", "--key-file", "/nowhere"), None, "cannot read the key"),
        (("--config", "/nowhere"), None, "No such file"),
    ],
)
def test_what_is_missing_or_wrong_is_said(arguments: tuple[str, ...], environment: Any, said: str) -> None:
    with pytest.raises(TailError, match=said.replace("(", r"\(")):
        options(*arguments, environment=environment)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[files a]\npaths = x\ncolour = red\n", "no option 'colour'"),
        ("[files a]\nsource = x\n", "paths"),
        ("[file a]\npaths = x\n", r"neither \[forebay\]"),
        ("[forebay]\nrescan_s = often\n", "could not convert"),
        ("[forebay]\nrescan_s = 0\n", "not above 0"),
        ("[forebay]\nstart_at_end = maybe\n", "yes nor no"),
        ("[files a]\npaths = x\nencoding = ebcdic\n", "none of utf-8"),
        ("paths = x\n", "section"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tail.ini").write_text(text)

    with pytest.raises(TailError, match=said):
        options("--config", str(tmp_path / "tail.ini"))


def test_every_option_of_the_file_is_documented() -> None:
    told = (Path(__file__).parents[2] / "docs" / "tail.md").read_text()

    assert [name for name in SHARED_NAMES | FILES_NAMES if f"`{name}`" not in told] == []


def test_a_mistake_ends_with_one_line_and_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOREBAY_URL", raising=False)

    assert main(["tail", "app.log"]) == 1
    assert capsys.readouterr().err == "forebay tail: where to? Give --url https://... or FOREBAY_URL\n"


def test_the_help_teaches_with_examples_and_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tail", "--help"])

    told = capsys.readouterr().out
    assert "forebay tail --multiline indent app.log" in told
    assert "[files app]" in told
    assert "Ctrl-C" in told
