"""What an operator's word about a breaker or a parked topic will do, in figures of now; and who has taken it in."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.conf import settings

from ingest.console.ages import age_in_words
from ingest.console.breakers_look import Look
from ingest.console.breakers_topics import waiting_of
from ingest.dataplane.breaker import State
from ingest.models import Override, OverrideKind
from tenants.models import ControlPlaneVersion

TITLES = {
    OverrideKind.FORCED_OPEN: "Force {place} open",
    OverrideKind.DISABLED: "Disable {place}",
    OverrideKind.RESET: "Reset {place}",
    OverrideKind.PARKED: "Park {place}",
    OverrideKind.RESUMED: "Resume {place}",
}
NOT_PARKED = "not parked"
DANGEROUS = (OverrideKind.FORCED_OPEN, OverrideKind.DISABLED, OverrideKind.PARKED)


class Taken(NamedTuple):
    """The newest word about a place, and which workers have taken it in."""

    word: Override
    workers: Sequence[tuple[str, bool]]

    @property
    def by(self) -> int:
        """How many have."""
        return sum(has_it for _, has_it in self.workers)


def taken(look: Look | None, word: Override | None) -> Taken | None:
    """A worker that knows the control plane's newest version knows every word. None without a word."""
    if word is None:
        return None
    version = ControlPlaneVersion.current()
    heard = look.heard if look else ()
    return Taken(word, [(one.name, (one.snapshot_version or 0) >= version) for one in heard])


def newest_word(**place: str) -> Override | None:
    """The last one about a place, or of all."""
    return Override.objects.filter(**place).first()


def title_of(word: Override) -> str:
    """What is to be done to what."""
    place = word.place if word.tenant else f"the breaker of {word.place}"
    return TITLES[OverrideKind(word.kind)].format(place=place)


def effects(word: Override, look: Look | None) -> list[str]:
    """What will happen, a sentence each."""
    if look is None:
        return ["Redis does not answer: what the workers have in hand is not known. They learn of this from a file."]
    return list(_EFFECTS[OverrideKind(word.kind)](word, look))


def state_of(word: Override, look: Look | None) -> str:
    """How its place is now, in words."""
    if look is None:
        return "unknown: Redis does not answer"
    if word.tenant:
        waiting = [one for one in waiting_of(look, word.topic) if one.tenant == word.tenant]
        return next((f"parked, {one.why}" for one in waiting if one.is_parked), NOT_PARKED)
    standing = look.standing(word.topic)
    return f"{standing.state}: {standing.cause}" if standing.cause else standing.state.value


def _force_open(word: Override, look: Look) -> Iterator[str]:
    to = f"topic {word.topic}" if word.topic else "Kafka"
    yield (
        f"Nothing will be sent to {to} by {_workers(look)}, until somebody resets it; a restart does not end it."
        + (" All other topics go on." if word.topic else "")
    )
    if word.topic:
        yield f"{_waiting(word, look)} for it already; what is in flight to it now still arrives, or waits as well."
    else:
        yield (
            f"{_counted(look.in_flight_events, 'is', 'are')} in flight: what Kafka has not taken goes back into the"
            f" journals. {_waiting(word, look)} there already."
        )
    yield f"Senders still get 202 while the journals have room, then 503. {_fullest(look)}"
    yield "Who waits for an acknowledgement gets Pending at once; fire_and_forget events are dropped, and counted."


def _disable(word: Override, look: Look) -> Iterator[str]:
    yield f"{_workers(look).capitalize()} will send everything, whatever fails, until somebody resets it."
    yield f"{_waiting(word, look)}: what can leave does so at once, beside new events."
    yield "What fails comes back into the journals and is tried again each second, which is load for Kafka."


def _reset(word: Override, look: Look) -> Iterator[str]:
    if look.standing(word.topic).state is State.CLOSED:
        yield "It is closed: nothing will change."
        return
    yield f"{_workers(look).capitalize()} will send again; it opens by itself when half of the last calls failed."
    yield f"{_waiting(word, look)}: they go out in their order, the oldest first."


def _park(word: Override, look: Look) -> Iterator[str]:
    yield (
        f"New events of {word.tenant} for topic {word.topic} are accepted as before and wait in the journals of"
        f" {_workers(look)}. Its other topics and all other tenants go on."
    )
    yield f"{_waiting(word, look)} now."
    max_age = age_in_words(settings.FOREBAY_JOURNAL_MAX_AGE_S)
    yield f"Nothing but a resume ends it. What waits for {max_age} becomes a dead letter."


def _resume(word: Override, look: Look) -> Iterator[str]:
    state = state_of(word, look)
    if state == NOT_PARKED:
        yield "Its events are not parked: nothing will change."
        return
    yield f"{_waiting(word, look)}: they go out in their order, the oldest first."
    yield f"They are {state}. If that lasts they are parked again; nothing is lost."


_EFFECTS = {
    OverrideKind.FORCED_OPEN: _force_open,
    OverrideKind.DISABLED: _disable,
    OverrideKind.RESET: _reset,
    OverrideKind.PARKED: _park,
    OverrideKind.RESUMED: _resume,
}


def _workers(look: Look) -> str:
    return "1 worker" if len(look.heard) == 1 else f"{len(look.heard)} workers"


def _waiting(word: Override, look: Look) -> str:
    if not word.topic:
        return _counted(look.pending_events, "waits", "wait")
    rows = [one for one in waiting_of(look, word.topic) if word.tenant in ("", one.tenant)]
    oldest = f", the oldest {rows[0].oldest} old" if word.tenant and rows and rows[0].oldest else ""
    tenants = f"of {len(rows)} tenants " if len(rows) > 1 else ""
    return f"{_counted(sum(one.events for one in rows), f'{tenants}waits', f'{tenants}wait')}{oldest}"


def _counted(events: int, one: str, more: str) -> str:
    return f"1 event {one}" if events == 1 else f"{events:,} events {more}"


def _fullest(look: Look) -> str:
    ratios = [one.journal_used_bytes / one.journal_max_bytes for one in look.heard if one.journal_max_bytes]
    return f"The fullest is {max(ratios, default=0):.0%} full."
