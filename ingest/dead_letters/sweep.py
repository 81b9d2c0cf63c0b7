"""The sweep: finds what is due, sends it at the replay's own rate, writes what came of it. The table is the truth.

Control plane; a Celery task runs it every few seconds for a bounded time, so that other tasks get their turn. It keeps
nothing between two runs: who kills it leaves claims that end, and the next run goes on.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone

from ingest.dataplane.faults import VERDICTS, Counts, Fault
from ingest.dead_letters.bulk import bulks_enlist
from ingest.dead_letters.claims import due_letters, is_somebody_sending, letters_claim
from ingest.dead_letters.pacing import PORTIONS_PER_S, ReplayRate, charged, quotas_of
from ingest.dead_letters.recording import BY_RETRY, Delivered, Failed, PutOff, Result, results_record
from ingest.dead_letters.retries import RetryPolicy
from ingest.dead_letters.routes import NO_SNAPSHOT, Destination, Dropped, Routes, Unroutable
from ingest.dead_letters.sending import Report, Sender, Shipment
from ingest.dead_letters.turns import Turns
from ingest.models import BulkReplay, DeadLetter
from tenants.buckets import SharedBuckets

# A record that Kafka refuses takes its batch with it, so each of such a batch is sent once more alone.
ALONE_S = 2.0
NO_SNAPSHOT_S = 30.0

Results = dict[int, Result]
Replayed = Counter[str]


class Tools(NamedTuple):
    """What a sweep works with; a test brings its own clock, sender and Redis."""

    sender: Sender
    routes: Routes
    rate: ReplayRate
    shared: SharedBuckets
    policy: RetryPolicy
    now_s: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = timezone.now


def dead_letters_sweep(*, tools: Tools, budget_s: float) -> Replayed:
    """Send what is due for about `budget_s`; returns how many were delivered, failed, dropped and put off.

    One process sends at a time, as a rule: the rate is kept to even while Redis is away."""
    totals: Replayed = Counter()
    if is_somebody_sending(now=tools.now()):
        return totals
    until_s, turns = tools.now_s() + budget_s, Turns()
    topics: Mapping[str, int] | None = None
    while tools.now_s() < until_s:
        bulks_enlist(now=tools.now())
        if not due_letters(now=tools.now()).exists():
            break
        # Asked once a sweep, and before anything is claimed: a cluster that is away costs no attempt.
        topics = topics or tools.sender.partitions()
        if topics is None:
            break
        portion = tools.rate.take()
        letters = _claimed(tools, portion, turns)
        results = _sent(tools, letters, topics)
        put_off = sum(isinstance(result, PutOff) for result in results.values())
        tools.rate.give_back(portion - len(letters) + put_off)
        results_record(letters=letters, results=results, policy=tools.policy, now=tools.now())
        totals.update(type(result).__name__.lower() for result in results.values())
        if _is_cluster_away(results.values()):
            break
        tools.pause(1 / PORTIONS_PER_S)
    return totals


def _is_cluster_away(results: Collection[Result]) -> bool:
    """As the breakers see it: what one partition brings, or one topic beside another that has success, is its own."""
    if any(isinstance(result, Delivered) for result in results):
        return False
    return any(isinstance(result, Failed) and _counts_for_all(result.report) for result in results)


def _counts_for_all(report: Report) -> bool:
    if report.fault in (Fault.TOPIC, Fault.RECORD):
        return False
    verdict = VERDICTS.get(report.code)
    return verdict is None or verdict.counts is Counts.CLUSTER or verdict.fault is not Fault.CLUSTER


def _claimed(tools: Tools, most: int, turns: Turns) -> list[DeadLetter]:
    if not most:
        return []
    return letters_claim(
        most=most,
        claim_s=settings.FOREBAY_REPLAY_CLAIM_S,
        max_attempts=tools.policy.max_attempts,
        now=tools.now(),
        by=BY_RETRY,
        turns=turns,
    )


def _sent(tools: Tools, letters: Sequence[DeadLetter], topics: Mapping[str, int]) -> Results:
    if not letters:
        return {}
    tools.rate.owe([letter.size_bytes for letter in letters])
    results: Results = {}
    destinations: dict[int, Destination] = {}
    for letter in letters:
        choice = tools.routes.choose(letter, topics)
        if isinstance(choice, Destination):
            destinations[letter.pk] = choice
        else:
            results[letter.pk] = _refused(choice)
    routed = [letter for letter in letters if letter.pk in destinations]
    for letter_id in _uncharged(tools, routed):
        destinations.pop(letter_id)
        results[letter_id] = PutOff()
    sent_at_ms = round(tools.now().timestamp() * 1000)
    shipments = [
        _shipment(letter, destinations[letter.pk], sent_at_ms) for letter in routed if letter.pk in destinations
    ]
    for letter_id, report in _reports(tools, shipments):
        delivered = report.is_delivered
        results[letter_id] = Delivered(destinations[letter_id], report) if delivered else Failed(report)
    return results


def _refused(choice: Dropped | Unroutable) -> Result:
    if isinstance(choice, Dropped):
        return choice
    if choice.code == NO_SNAPSHOT:
        # Nothing of the letter's nor of Kafka's: it waits until this node has the rules, and all others go on.
        return PutOff(NO_SNAPSHOT_S, choice.code, choice.detail)
    return Failed(Report(fault=choice.fault, code=choice.code, detail=choice.detail))


def _uncharged(tools: Tools, letters: Sequence[DeadLetter]) -> set[int]:
    """Of bulk replays that take from their tenants' quotas: those that the quotas have no room for now."""
    bulk_ids = {letter.bulk_id for letter in letters if letter.bulk_id}
    charging = set(BulkReplay.objects.filter(pk__in=bulk_ids, charges_quota=True).values_list("pk", flat=True))
    wanted = [(letter.pk, letter.tenant, letter.size_bytes) for letter in letters if letter.bulk_id in charging]
    if not wanted:
        return set()
    granted = charged(tools.shared, wanted, quotas_of(tenant for _, tenant, _ in wanted))
    return {letter_id for letter_id, _, _ in wanted} - granted


def _shipment(letter: DeadLetter, to: Destination, sent_at_ms: int) -> Shipment:
    return Shipment(
        letter_id=letter.pk,
        topic=to.topic,
        partition=to.partition,
        key=to.key,
        value=bytes(letter.value),
        timestamp_ms=sent_at_ms,
        headers=tuple((str(name), str(value)) for name, value in letter.headers),
    )


def _reports(tools: Tools, shipments: Sequence[Shipment]) -> Iterator[tuple[int, Report]]:
    """What became of each. Those there was no time for alone have no report: they are put off."""
    if not shipments:
        return
    reports = tools.sender.send(shipments)
    until_s = tools.now_s() + ALONE_S
    for shipment in shipments:
        report = reports[shipment.letter_id]
        if report.fault is Fault.RECORD and len(shipments) > 1:
            if tools.now_s() >= until_s:
                continue
            report = tools.sender.send([shipment])[shipment.letter_id]
        yield shipment.letter_id, report
