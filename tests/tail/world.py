"""What the tests of the tailer share: a directory with logs, a sink in memory for Forebay, a clock that is moved."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forebay_client.tail.checkpoints import Checkpoints
from forebay_client.tail.options import Input, Options, checked
from forebay_client.tail.tailer import Tailer
from forebay_client.wire import Outcome

Answer = Callable[[Sequence[bytes]], Outcome]


class FakeClock:
    """Monotonic seconds; sleeping moves them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    def now_s(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.on_sleep()


class Sink:
    """Takes every batch, unless `answers` has something else to say to the next ones."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.answers: list[Answer | Outcome] = []

    def send(self, events: Sequence[bytes], /) -> Outcome:
        self.batches.append(len(events))
        if self.answers:
            answer = self.answers.pop(0)
            outcome = answer if isinstance(answer, Outcome) else answer(events)
        else:
            outcome = Outcome(202, accepted=range(len(events)))
        self.events += [json.loads(events[index]) for index in outcome.accepted]
        return outcome

    @property
    def messages(self) -> list[str]:
        """By id the first of each, in the order of arrival: what a consumer that looks at ids has."""
        return [event["message"] for event in {event["eventId"]: event for event in reversed(self.events)}.values()][
            ::-1
        ]

    @property
    def copies(self) -> int:
        """Events that came again under their own id."""
        return len(self.events) - len({event["eventId"] for event in self.events})

    def ids_of(self, message: str) -> Counter[str]:
        return Counter(event["eventId"] for event in self.events if event["message"] == message)


class World:
    """A directory of logs, and tailers that come and go over it with one state directory."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.logs, self.state = root / "logs", root / "state"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.log = self.logs / "app.log"
        self.sink, self.clock, self.said = Sink(), FakeClock(), list[str]()
        self.settings = settings
        self._tailer: Tailer | None = None
        self._checkpoints: Checkpoints | None = None

    def write(self, text: str | bytes, path: Path | None = None) -> None:
        with (path or self.log).open("ab") as file:
            file.write(text.encode() if isinstance(text, str) else text)

    def lines(self, *numbers: int, path: Path | None = None) -> None:
        """One line for each number."""
        self.write("".join(f"line {number}\n" for number in numbers), path)

    def tailer(self, **settings: Any) -> Tailer:
        """A new one, as after a start; one that was running is killed: nothing is saved, nothing ended."""
        self.kill()
        options = self.options(**{**self.settings, **settings})
        self._checkpoints = Checkpoints(self.state)
        self._tailer = Tailer(options, self._checkpoints, self.sink, self.clock, self.said.append)
        return self._tailer

    def options(self, **settings: Any) -> Options:
        kinds = {name: settings.pop(name) for name in list(settings) if name in Input.__dataclass_fields__}
        paths = kinds.pop("paths", (str(self.logs / "app.log*"),))
        kind = checked(Input(paths=tuple(map(str, paths)), **kinds))
        return Options(inputs=(kind,), url="", key="", state=self.state, **{"host": "web-1", **settings})

    def run_once(self, **settings: Any) -> Tailer:
        """A start that reads all there is, and its clean end."""
        tailer = self.tailer(once=True, **settings)
        tailer.run()
        self.kill()
        return tailer

    def turn_for(self, seconds: float) -> None:
        """Lets the running one work for so long."""
        assert self._tailer is not None
        until_s = self.clock.seconds + seconds
        while self.clock.seconds < until_s:
            if not self._tailer.turn():
                self.clock.sleep(0.25)

    def kill(self) -> None:
        if self._tailer is not None and self._checkpoints is not None:
            self._tailer.discovery.close_all()
            self._checkpoints.close()
        self._tailer = self._checkpoints = None

    def settle(self, **settings: Any) -> list[str]:
        """A start that sends whatever is left; then all that arrived."""
        self.run_once(**settings)
        return self.sink.messages


def numbered(*numbers: int) -> list[str]:
    return [f"line {number}" for number in numbers]
