"""Whatever befalls what is on its way, a flow's events are stored in the order in which a worker accepted them; only a
producer that was replaced may have stored some of them twice."""

from pathlib import Path
from typing import Any, TypeVar

import pytest
from confluent_kafka import KafkaError
from hypothesis import event, given, settings
from hypothesis import strategies as st

from ingest.dataplane.flows import BACK_OFF_S
from ingest.dataplane.policy import OverridePolicy
from ingest.dataplane.segments import SETTLED
from tests.unit.dataplane.drain_world import SIZES, TIMED_OUT, World
from tests.unit.dataplane.world import NOW_WALL_MS, Message, Report

T = TypeVar("T")
DENIED = KafkaError.TOPIC_AUTHORIZATION_FAILED
PURGED_IN_FLIGHT = KafkaError._PURGE_INFLIGHT
FLOWS = [(tenant, topic) for tenant in ("acme", "bolt") for topic in ("logs", "audit")]


class Trouble(World):
    """A worker to which everything happens that may. `late`: reports of instances that have been replaced. `sender_of`:
    the tenant of each event, and which of the workers took it in, this one or one that it inherited from."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, in_flight_bytes=6)
        self.journal.max_bytes *= 100  # what is pinned must not keep anybody from sending
        self.sender_of: list[tuple[str, int]] = []
        self.heirlooms = self.rewritten = 0
        self.late: list[tuple[Report, KafkaError | None, Message]] = []
        self.words = 0

    def take_in(self, tenant: str, topics: list[str]) -> None:
        self.sender_of += [(tenant, 0)] * len(topics)
        self.send(*topics, tenant=tenant)

    def inherit(self, tenant: str, topics: list[str]) -> None:
        """What another worker took in and died of."""
        self.heirlooms += 1
        dead = World(self.root, topics=())
        dead.sent = self.sent
        dead.send(*topics, tenant=tenant)
        dead.close()
        self.sent = dead.sent
        self.sender_of += [(tenant, self.heirlooms)] * len(topics)
        self.drain.adopt(self.root, **SIZES)

    def rotate(self) -> None:
        """So much of Crux's comes and goes that another segment is begun; what waits is written anew."""
        for _ in range(2):
            _, segment, sequence = self.journal.append("crux", NOW_WALL_MS, [("audit", 0, b"k", bytes(40_000), 0)])
            self.journal.settle([(segment, sequence, 1)])
        self.rewritten += self.journal.compact()

    def acknowledge(self, count: int, order: list[int]) -> None:
        """The oldest are stored; of partitions that are not the same, reports come in any order."""
        taken, self.kafka.queue = self.kafka.queue[:count], self.kafka.queue[count:]
        self.kafka.stored += [(message.topic(), message.value()) for message, _, _ in taken]
        for message, _, report in in_order(taken, order):
            report(None, message)

    def fail_first(self, code: int) -> None:
        """The oldest call fails; settling calls back all that is queued behind it."""
        if self.kafka.queue:
            report = self.kafka.queue[0][2]
            while self.kafka.queue and self.kafka.queue[0][2] == report:
                self.kafka.fail(code)
        self.settle()

    def replace_producer(self, stored: int, *, says_so: bool) -> None:
        """Of what the old instance held the brokers have the oldest; it tells late, or tells only that it is gone."""
        held, self.kafka.queue = self.kafka.queue, []
        for number, (message, _, report) in enumerate(held):
            if number < stored:
                self.kafka.stored.append((message.topic(), message.value()))
            is_success = number < stored and says_so
            self.late.append((report, None if is_success else KafkaError(PURGED_IN_FLIGHT), message))
        self.kafka.distrust("fatal")
        self.settlements.watch()

    def hear_late_reports(self, count: int, order: list[int]) -> None:
        heard, self.late = self.late[:count], self.late[count:]
        for report, error, message in in_order(heard, order):
            report(error, message)

    def let_time_pass(self, seconds: float) -> None:
        self.pass_time(seconds)
        for breaker in (self.cluster, *self.breakers.values()):
            breaker.tick(alone=True)
        self.settlements.watch()

    def open_breaker(self, topic: str) -> None:
        """As a worker does when one opens, what is queued is called back at the next settlement."""
        breaker = self.breaker(topic) if topic else self.cluster
        breaker.record(0, 10, breaker.epoch)
        self.settlements.call_back()

    def say(self, kind: str, tenant: str, topic: str) -> None:
        self.words += 1
        self.flows.obey([OverridePolicy(self.words, kind, topic, tenant, "ann", "because", 0)])

    def end_well(self) -> None:
        self.kafka.room = 1_000
        for tenant, topic in FLOWS:
            self.say("RESUMED", tenant, topic)
        self.deliver_everything()
        self.hear_late_reports(len(self.late), [])
        self.settle()
        self.let_time_pass(61)
        self.let_time_pass(1)
        self.drain.visit_all()  # what a late report has settled waits no more

    def first_stored(self, topic: str) -> dict[tuple[str, int], list[int]]:
        """By who sent it and who took it in."""
        stored: dict[tuple[str, int], list[int]] = {}
        for number in dict.fromkeys(self.stored(topic)):
            stored.setdefault(self.sender_of[number], []).append(number)
        return stored


def in_order(things: list[T], order: list[int]) -> list[T]:
    """By an order of more places than there need be."""
    chosen = [things[at] for at in order if at < len(things)]
    return chosen + [thing for at, thing in enumerate(things) if at not in order]


orders = st.permutations(range(4))
tenants, topics = st.sampled_from(["acme", "bolt"]), st.sampled_from(["logs", "audit"])
sends = st.tuples(st.just("take_in"), tenants, st.lists(topics, min_size=1, max_size=4))
steps = st.lists(
    st.one_of(
        sends,
        sends,
        st.tuples(st.just("inherit"), tenants, st.lists(topics, min_size=1, max_size=4)),
        st.tuples(st.just("rotate")),
        st.tuples(st.just("acknowledge"), st.integers(1, 4), orders),
        st.tuples(st.just("fail_first"), st.sampled_from([TIMED_OUT, TIMED_OUT, DENIED])),
        st.tuples(st.just("settle")),
        st.tuples(st.just("visit")),
        st.tuples(st.just("visit")),
        st.tuples(st.just("room"), st.integers(0, 6)),
        st.tuples(st.just("time"), st.sampled_from([BACK_OFF_S, 6.0, 61.0])),
        st.tuples(st.just("call_back")),
        st.tuples(st.just("open_breaker"), st.sampled_from(["", "logs"])),
        st.tuples(st.just("say"), st.sampled_from(["PARKED", "RESUMED"]), tenants, topics),
        st.tuples(st.just("replace"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("late"), st.integers(1, 4), orders),
    ),
    min_size=20,  # a short list is a dull one, and without a least size most are
    max_size=60,
)


def happens(world: Trouble, name: str, arguments: list[Any]) -> None:
    match name:
        case "visit":
            world.drain.visit_all()
        case "room":
            (world.kafka.room,) = arguments
        case "time":
            world.let_time_pass(*arguments)
        case "call_back":
            world.settlements.call_back()
        case "replace":
            world.replace_producer(arguments[0], says_so=arguments[1])
        case "late":
            world.hear_late_reports(*arguments)
        case _:
            getattr(world, name)(*arguments)


@settings(deadline=None, max_examples=120)
@given(steps)
def test_each_flow_is_stored_in_its_order_whatever_happens_and_the_ledger_adds_up(
    tmp_path_factory: pytest.TempPathFactory, happening: list[tuple[Any, ...]]
) -> None:
    world = Trouble(tmp_path_factory.mktemp("trouble"))

    for name, *arguments in happening:
        happens(world, name, arguments)
    event(f"cluster's breaker {world.cluster.state}")
    event(f"{min(world.kafka.renewals, 2)} replaced")
    event(f"{min(world.rewritten, 2)} rewritten")
    world.end_well()

    for order in (*world.first_stored("logs").values(), *world.first_stored("audit").values()):
        assert order == sorted(order)
    stored = [*world.stored("logs"), *world.stored("audit")]
    assert set(stored) == set(range(world.sent))
    assert world.kafka.renewals or len(stored) == world.sent
    assert not world.behind()
    accounts = [account for journal in world.drain.journals() for account in journal.ledger.accounts.values()]
    counted = [account for account in accounts if account.tenant != "crux"]
    for name in ("accepted", "delivered"):
        assert sum(getattr(account, name) for account in counted) == world.sent
    assert sum(account.pending for account in accounts) == 0
    segments = [segment for journal in world.drain.journals() for segment in journal._segments]
    assert all(set(segment.states) <= {SETTLED} for segment in segments)
    world.close()
