"""What the tailer does with each of Forebay's answers: nothing is given up, nothing is sent twice on purpose."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from forebay_client.tail.delivery import Delivery, Stopped
from forebay_client.tail.failures import TailError
from forebay_client.wire import Outcome, Rejection
from tests.tail.world import Sink, World, numbered

EVENTS = [b'{"message":"%d","eventId":"%d","metadata":{}}' % (number, number) for number in range(6)]


class Waits:
    """How long it waited each time."""

    def __init__(self, *, ends_after: int = 100) -> None:
        self.seconds: list[float] = []
        self._ends_after = ends_after

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) < self._ends_after


@pytest.fixture
def sink() -> Sink:
    return Sink()


def test_it_waits_as_long_as_it_is_told_and_sends_the_same_again(sink: Sink) -> None:
    sink.answers = [Outcome(429, "quota_exceeded", retry_after_s=7.0), Outcome(503, "journal_full", retry_after_s=1.0)]
    waits, said = Waits(), list[str]()

    delivered = Delivery(sink, waits, said.append).deliver(EVENTS)

    assert delivered.accepted == 6
    assert sink.batches == [6, 6, 6]
    assert [7.0 <= waits.seconds[0] <= 8.4, 1.0 <= waits.seconds[1] <= 1.2] == [True, True]
    assert said == ["waiting: 429 quota_exceeded", "going on after 2 tries"]


def test_without_an_answer_it_waits_longer_each_time_and_never_over_half_a_minute(sink: Sink) -> None:
    sink.answers = [Outcome(0, "no_answer", retry_after_s=0.0)] * 12
    waits = Waits()

    Delivery(sink, waits, lambda line: None).deliver(EVENTS)

    assert waits.seconds[0] < 1.0
    assert waits.seconds[1] > waits.seconds[0]
    assert 30.0 <= waits.seconds[-1] <= 36.0


def test_told_to_end_while_it_waits_it_keeps_the_batch(sink: Sink) -> None:
    sink.answers = [Outcome(503, "shutting_down", retry_after_s=1.0)] * 9

    with pytest.raises(Stopped):
        Delivery(sink, Waits(ends_after=3), lambda line: None).deliver(EVENTS)

    assert sink.events == []


@pytest.mark.parametrize(("status", "advice"), [(401, "--key-file"), (403, "scope"), (404, "--url")])
def test_a_wrong_key_or_address_ends_the_start_with_advice(sink: Sink, status: int, advice: str) -> None:
    sink.answers = [Outcome(status, "unknown_key", retry_after_s=30.0)]

    with pytest.raises(TailError, match=advice):
        Delivery(sink, Waits(), lambda line: None).deliver(EVENTS)


def test_later_on_it_waits_for_somebody_to_mend_it(sink: Sink) -> None:
    waits = Waits()
    delivery = Delivery(sink, waits, lambda line: None)
    delivery.deliver(EVENTS[:1])
    sink.answers = [Outcome(401, "revoked_key", retry_after_s=30.0)]

    assert delivery.deliver(EVENTS[1:]).accepted == 5
    assert waits.seconds[0] >= 30.0


def test_a_batch_that_is_too_large_goes_in_halves_and_later_ones_are_smaller(sink: Sink) -> None:
    def at_most_two(events: Sequence[bytes]) -> Outcome:
        if len(events) > 2:
            return Outcome(413, "batch_exceeds_burst", is_to_be_split=True)
        return Outcome(202, accepted=range(len(events)))

    sink.answers = [at_most_two] * 20
    delivery = Delivery(sink, Waits(), lambda line: None)

    delivered = delivery.deliver(EVENTS)

    assert delivered.accepted == 6
    assert [event["message"] for event in sink.events] == list("012345")
    assert delivery.max_events == 1


def test_rejected_events_are_told_by_their_index_in_the_whole_batch(sink: Sink) -> None:
    def rejects_the_last(events: Sequence[bytes]) -> Outcome:
        last = len(events) - 1
        return Outcome(207, accepted=range(last), rejected={last: Rejection("event_too_large", "too large")})

    sink.answers = [Outcome(413, "body_too_large", is_to_be_split=True), rejects_the_last, rejects_the_last]

    delivered = Delivery(sink, Waits(), lambda line: None).deliver(EVENTS)

    assert delivered.accepted == 4
    assert sorted(delivered.rejected) == [2, 5]


def test_an_event_that_is_too_old_for_the_server_is_sent_again_without_its_time(sink: Sink) -> None:
    old = b'{"message":"old","eventId":"9","timestamp":"2000-01-01T00:00:00Z","metadata":{}}'
    too_old = {1: Rejection("timestamp_out_of_range", "too old")}
    sink.answers = [Outcome(207, accepted=[0], rejected=too_old)]

    delivered = Delivery(sink, Waits(), lambda line: None).deliver([EVENTS[0], old])

    assert (delivered.accepted, delivered.rejected) == (2, {})
    assert sink.events[1] == {"message": "old", "eventId": "9", "metadata": {"timestamp": "2000-01-01T00:00:00Z"}}


def test_rejected_lines_are_said_kept_and_not_sent_again(tmp_path: Path) -> None:
    world = World(tmp_path, rejected_file=tmp_path / "rejected.ndjson")
    world.lines(1, 2, 3)
    world.sink.answers = [Outcome(207, accepted=[0, 2], rejected={1: Rejection("event_too_large", "too large")})]

    world.settle()
    world.settle()

    assert world.sink.messages == numbered(1, 3)
    assert any("the line at byte 7 was rejected: event_too_large" in line for line in world.said)
    assert '"message": "line 2"' in (tmp_path / "rejected.ndjson").read_text()


def test_while_it_waits_nothing_more_is_read(tmp_path: Path) -> None:
    world = World(tmp_path, batch_events=100)
    world.lines(*range(10_000))
    tailer = world.tailer()
    world.sink.answers = [Outcome(503, "journal_full", retry_after_s=60.0)] * 10

    tailer.turn()

    assert tailer.counts.read_bytes <= 256 * 1024
    assert world.sink.batches == [100] * 11


def test_an_identity_that_cannot_be_kept_is_not_sent_under(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.lines(1)
    tailer = world.tailer()
    blocking = world.state / "checkpoints.partial"
    blocking.mkdir()  # a disk that takes nothing

    def mend() -> None:
        if world.clock.seconds > 5:
            blocking.rmdir()
            world.clock.on_sleep = lambda: None

    world.clock.on_sleep = mend
    tailer.turn()

    assert world.sink.messages == numbered(1)
    assert world.clock.seconds > 5
    assert any("cannot write" in line for line in world.said)
