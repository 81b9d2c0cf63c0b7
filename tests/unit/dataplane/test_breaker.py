"""When a breaker opens, how it tries again, and whom it obeys; the clock stands still unless a test moves it."""

import pytest

from ingest.dataplane.breaker import Breaker, BreakerLimits, Standing, State, take_trials

LIMITS = BreakerLimits()
Told = list[tuple[str, State, State, str]]


class Clock:
    """Monotonic seconds that only a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def breaker(clock: Clock, told: Told) -> Breaker:
    return Breaker("logs", LIMITS, clock, lambda it, old, new, why: told.append((it.topic, old, new, why)))


def opened(breaker: Breaker) -> Breaker:
    breaker.record(0, 5, breaker.epoch)
    return breaker


def half_opened(breaker: Breaker, clock: Clock) -> Breaker:
    opened(breaker)
    clock.now_s += LIMITS.open_s
    breaker.tick()
    return breaker


def standing(state: State, epoch: int, *, age_s: float = 0.0, override: int = 0) -> Standing:
    return Standing(state, epoch, age_s, "another process said so", "", override)


# --- closed ----------------------------------------------------------------------------------------------------------
def test_it_begins_closed(breaker: Breaker) -> None:
    assert (breaker.state, breaker.allows_direct, breaker.epoch) == (State.CLOSED, True, 0)


@pytest.mark.parametrize(("successes", "failures"), [(0, 4), (4, 0), (1_000_000, 0), (6, 4), (1_000, 4)])
def test_few_failures_leave_it_closed(breaker: Breaker, successes: int, failures: int) -> None:
    breaker.record(successes, failures, 0)

    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(("successes", "failures"), [(0, 5), (2, 3), (1, 4)])
def test_it_opens_when_half_of_at_least_five_calls_failed(breaker: Breaker, successes: int, failures: int) -> None:
    breaker.record(successes, failures, 0, "_MSG_TIMED_OUT")

    known = successes + failures
    assert (breaker.state, breaker.allows_direct, breaker.epoch) == (State.OPEN, False, 1)
    assert breaker.cause == f"{failures} of the last {known} calls failed, the last with _MSG_TIMED_OUT"


def test_only_the_last_ten_calls_count(breaker: Breaker, clock: Clock) -> None:
    breaker.record(0, 4, 0)
    breaker.record(10, 0, 0)
    clock.now_s += LIMITS.burst_s + 1
    breaker.record(0, 4, 0)

    assert breaker.state is State.CLOSED


def test_five_failures_within_ten_seconds_open_it_however_many_succeed(breaker: Breaker, clock: Clock) -> None:
    for _ in range(5):
        breaker.record(1_000, 1, 0)
        clock.now_s += 2.0

    assert breaker.state is State.OPEN
    assert breaker.cause == "5 calls failed within 10 s"


def test_five_failures_over_a_longer_time_do_not(breaker: Breaker, clock: Clock) -> None:
    for _ in range(20):
        breaker.record(1_000, 1, 0)
        clock.now_s += 2.6

    assert breaker.state is State.CLOSED


def test_calls_that_began_before_the_last_transition_do_not_count(breaker: Breaker, clock: Clock) -> None:
    before = breaker.epoch
    half_opened(breaker, clock)

    breaker.record(0, 100, before)

    assert breaker.state is State.HALF_OPEN
    assert breaker.trial_report().failures == 0


# --- open and half open ----------------------------------------------------------------------------------------------
def test_it_stays_open_for_a_minute_and_is_half_open_then(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)

    clock.now_s += 59.9
    breaker.tick()
    before = breaker.state
    clock.now_s += 0.1
    breaker.tick()

    assert (before, breaker.state, breaker.allows_direct) == (State.OPEN, State.HALF_OPEN, False)


def test_what_fails_while_it_is_open_does_not_keep_it_open(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)

    clock.now_s += 59.0
    breaker.record(0, 50, breaker.epoch)
    clock.now_s += 1.0
    breaker.tick()

    assert breaker.state is State.HALF_OPEN


def test_a_reason_to_try_ends_open_early_and_nothing_else(breaker: Breaker) -> None:
    breaker.end_open_early("a broker answers")
    closed = breaker.state
    opened(breaker).end_open_early("a broker answers")

    assert (closed, breaker.state, breaker.cause) == (State.CLOSED, State.HALF_OPEN, "a broker answers")


def test_a_trial_without_a_permit_is_refused_and_wanted(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)

    taken = [breaker.take_trial() for _ in range(50)]

    assert taken == [False] * 50
    assert breaker.trial_report().wanted


def test_each_permit_is_one_trial(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    breaker.reported(breaker.trial_report(), ["a", "b"], clock.now_s)

    taken = [breaker.take_trial() for _ in range(5)]

    assert taken.count(True) == 2
    assert breaker.trial_report().used == ("a", "b")


def test_a_permit_ends_ten_seconds_after_it_was_asked_for(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    breaker.reported(breaker.trial_report(), ["a"], clock.now_s)

    clock.now_s += 10.0

    assert not breaker.take_trial()
    assert breaker.trial_report().wanted


def test_permits_do_not_outlive_the_epoch_they_were_asked_for_in(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    report = breaker.trial_report()
    breaker.adopt(standing(State.HALF_OPEN, breaker.epoch + 2))

    breaker.reported(report, ["a"], clock.now_s)

    assert not breaker.take_trial()


def test_what_was_reported_is_not_reported_again(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    breaker.reported(breaker.trial_report(), ["a", "b"], clock.now_s)
    breaker.take_trial()
    breaker.record(1, 0, breaker.epoch)
    report = breaker.trial_report()
    breaker.take_trial()
    breaker.record(0, 1, breaker.epoch)

    breaker.reported(report, [], clock.now_s)

    left = breaker.trial_report()
    assert (left.used, left.successes, left.failures) == (("b",), 0, 1)


def test_a_trial_given_back_is_told_once_and_only_of_this_epoch(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    breaker.reported(breaker.trial_report(), ["a"], clock.now_s)
    breaker.take_trial()
    breaker.give_back(1, breaker.epoch)
    breaker.give_back(5, breaker.epoch - 1)
    report = breaker.trial_report()

    breaker.reported(report, [], clock.now_s)

    assert (report.used, report.given_back) == (("a",), 1)
    assert breaker.trial_report().given_back == 0


def test_a_trial_is_allowed_anyway_once_it_is_closed(breaker: Breaker) -> None:
    assert breaker.take_trial()
    assert not opened(breaker).take_trial()


def test_a_call_that_two_breakers_concern_uses_up_a_trial_of_both_or_of_none(breaker: Breaker, clock: Clock) -> None:
    cluster = half_opened(Breaker("", LIMITS, clock), clock)
    half_opened(breaker, clock)
    cluster.reported(cluster.trial_report(), ["c"], clock.now_s)

    refused = take_trials(cluster, breaker)
    used_in_vain = cluster.trial_report().used
    wanted = breaker.trial_report().wanted
    breaker.reported(breaker.trial_report(), ["t"], clock.now_s)

    assert (refused, used_in_vain, wanted) == (False, (), True)
    assert take_trials(cluster, breaker)
    assert (cluster.trial_report().used, breaker.trial_report().used) == (("c",), ("t",))


def test_a_closed_breaker_costs_a_call_no_trial(breaker: Breaker, clock: Clock) -> None:
    assert take_trials(breaker, Breaker("", LIMITS, clock))
    assert not take_trials(breaker, opened(Breaker("", LIMITS, clock)))


# --- alone -----------------------------------------------------------------------------------------------------------
def test_alone_it_has_one_trial(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    breaker.tick(alone=True)

    taken = [breaker.take_trial() for _ in range(50)]
    breaker.tick(alone=True)
    taken += [breaker.take_trial() for _ in range(50)]

    assert taken.count(True) == 1


@pytest.mark.parametrize(
    ("successes", "failures", "state"), [(1, 0, State.CLOSED), (0, 1, State.OPEN), (1, 1, State.OPEN)]
)
def test_alone_that_trial_decides(breaker: Breaker, clock: Clock, successes: int, failures: int, state: State) -> None:
    half_opened(breaker, clock).tick(alone=True)
    breaker.take_trial()
    breaker.record(successes, failures, breaker.epoch)

    breaker.tick(alone=True)

    assert breaker.state is state


def test_alone_a_trial_that_says_nothing_has_failed(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock).tick(alone=True)
    breaker.take_trial()

    clock.now_s += LIMITS.trial_result_s
    breaker.tick(alone=True)

    assert (breaker.state, breaker.cause) == (State.OPEN, "the trial brought no result")


def test_alone_a_trial_given_back_is_followed_by_another(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock).tick(alone=True)
    breaker.take_trial()
    breaker.give_back(1, breaker.epoch)

    breaker.tick(alone=True)

    assert [breaker.take_trial(), breaker.take_trial()] == [True, False]


def test_alone_an_unused_permit_is_renewed(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock).tick(alone=True)

    clock.now_s += LIMITS.permit_s
    breaker.tick(alone=True)

    assert [breaker.take_trial(), breaker.take_trial()] == [True, False]


# --- operators -------------------------------------------------------------------------------------------------------
def test_forced_open_holds_whatever_happens(breaker: Breaker, clock: Clock) -> None:
    breaker.obey(1, "FORCED_OPEN", "operator", "brokers are being moved")

    breaker.record(1_000, 0, breaker.epoch)
    clock.now_s += 3_600
    breaker.tick(alone=True)

    assert (breaker.state, breaker.allows_direct, breaker.take_trial()) == (State.FORCED_OPEN, False, False)
    assert (breaker.by, breaker.cause) == ("operator", "brokers are being moved")


def test_disabled_sends_whatever_fails(breaker: Breaker) -> None:
    opened(breaker).obey(1, "DISABLED", "operator", "a false alarm")

    breaker.record(0, 1_000, breaker.epoch)

    assert (breaker.state, breaker.allows_direct) == (State.DISABLED, True)


@pytest.mark.parametrize("kind", ["FORCED_OPEN", "DISABLED"])
def test_a_reset_sets_it_free(breaker: Breaker, kind: str) -> None:
    breaker.obey(1, kind, "operator", "for a while")
    breaker.obey(2, "RESET", "operator", "that while is over")

    freed = breaker.state
    opened(breaker)

    assert (freed, breaker.state) == (State.CLOSED, State.OPEN)


def test_a_word_is_obeyed_once(breaker: Breaker) -> None:
    breaker.obey(7, "RESET", "operator", "all is well")
    opened(breaker)

    breaker.obey(7, "RESET", "operator", "all is well")
    breaker.obey(6, "DISABLED", "operator", "an older word that comes late")

    assert breaker.state is State.OPEN


# --- other processes -------------------------------------------------------------------------------------------------
def test_what_the_others_agree_on_is_adopted_with_its_age(breaker: Breaker, clock: Clock) -> None:
    breaker.adopt(standing(State.OPEN, 5, age_s=59.0))

    adopted = (breaker.state, breaker.epoch)
    clock.now_s += 1.0
    breaker.tick()

    assert adopted == (State.OPEN, 5)
    assert (breaker.state, breaker.epoch) == (State.HALF_OPEN, 6)


def test_what_the_others_said_before_this_one_moved_on_is_not(breaker: Breaker, clock: Clock) -> None:
    half_opened(breaker, clock)

    breaker.adopt(standing(State.OPEN, 1))

    assert (breaker.state, breaker.epoch) == (State.HALF_OPEN, 2)


def test_of_two_that_moved_at_once_the_others_win(breaker: Breaker) -> None:
    opened(breaker)

    breaker.adopt(standing(State.FORCED_OPEN, 1))

    assert (breaker.state, breaker.epoch) == (State.FORCED_OPEN, 1)


def test_a_word_that_the_others_did_not_know_yet_is_obeyed_again(breaker: Breaker) -> None:
    breaker.obey(6, "RESET", "operator", "said while nobody listened")
    breaker.adopt(standing(State.OPEN, 4, override=3))

    breaker.obey(6, "RESET", "operator", "said while nobody listened")

    assert (breaker.state, breaker.epoch) == (State.CLOSED, 5)


def test_every_change_of_state_is_told_once(breaker: Breaker, clock: Clock, told: Told) -> None:
    half_opened(breaker, clock)
    breaker.adopt(standing(State.CLOSED, 3))
    breaker.adopt(standing(State.CLOSED, 5))

    assert told == [
        ("logs", State.CLOSED, State.OPEN, "5 of the last 5 calls failed"),
        ("logs", State.OPEN, State.HALF_OPEN, "60 s have passed"),
        ("logs", State.HALF_OPEN, State.CLOSED, "another process said so"),
    ]


def test_whoever_is_told_may_ask_the_breaker(clock: Clock) -> None:
    answers: list[Standing] = []
    breaker = Breaker("logs", LIMITS, clock, lambda it, *_: answers.append(it.standing()))

    opened(breaker)

    assert [answer.state for answer in answers] == [State.OPEN]
