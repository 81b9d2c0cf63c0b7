"""The supervisor's own look at the alerts: it tells once when nobody evaluates them, and once when they are again."""

import pytest

from forebay.local.alert_watch import RETRY_AFTER_S, Watch
from ingest.alerts.webhook import NotSent
from tests.unit.tenants.quota_world import FakeClock

UNWATCHED_S = 60.0


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.mark: object = b"1"
        self.sent: list[str] = []
        self.receiver_is_away = False
        self.watch = Watch(lambda: self.mark, self._send, UNWATCHED_S, self.clock)

    def _send(self, event: str, value: str) -> None:
        if self.receiver_is_away:
            raise NotSent("connection refused")
        self.sent.append(event)

    def pass_by(self, seconds: int, *, evaluating: bool) -> None:
        """The supervisor looks every five seconds; an evaluation changes the mark each time."""
        for step in range(seconds // 5):
            self.clock.advance(5)
            if evaluating:
                self.mark = b"%f" % (self.clock.now_s + step)
            self.watch.look()


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_told_while_alerts_are_evaluated(world: World) -> None:
    world.pass_by(300, evaluating=True)

    assert world.sent == []


def test_it_is_told_once_when_nobody_evaluates_and_once_when_somebody_does_again(world: World) -> None:
    world.pass_by(20, evaluating=True)
    world.pass_by(55, evaluating=False)
    before = list(world.sent)
    world.pass_by(300, evaluating=False)
    during = list(world.sent)
    world.pass_by(60, evaluating=True)

    assert (before, during, world.sent) == ([], ["opened"], ["opened", "ended"])


def test_an_evaluation_that_never_began_is_told_too(world: World) -> None:
    world.mark = None

    world.pass_by(60, evaluating=False)

    assert world.sent == ["opened"]


def test_a_mark_left_by_an_earlier_run_counts_once(world: World) -> None:
    world.pass_by(65, evaluating=False)

    assert world.sent == ["opened"]


def test_redis_away_looks_like_nobody_evaluates(world: World) -> None:
    world.pass_by(20, evaluating=True)
    world.mark = None

    world.pass_by(60, evaluating=False)

    assert world.sent == ["opened"]


def test_what_was_not_sent_is_tried_again_now_and_then(world: World) -> None:
    world.receiver_is_away = True
    world.pass_by(120, evaluating=False)
    world.receiver_is_away = False

    world.pass_by(int(RETRY_AFTER_S), evaluating=False)

    assert world.sent == ["opened"]


def test_what_was_over_before_it_could_be_told_is_not_told(world: World) -> None:
    world.receiver_is_away = True
    world.pass_by(120, evaluating=False)
    world.receiver_is_away = False

    world.pass_by(60, evaluating=True)

    assert world.sent == []
