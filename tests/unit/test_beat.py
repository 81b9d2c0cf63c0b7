"""Beat and the signals that end it. What a worker does with them is Celery's own."""

import signal
from collections.abc import Iterator

import pytest
from celery.beat import Service
from django_celery_beat.models import PeriodicTask
from pytest_django import DjangoAssertNumQueries, Settings

from forebay.celery import app

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """Of a beat whose handlers are installed and which has not made its schedule yet."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    service = Service(app, scheduler_cls=settings.CELERY_BEAT_SCHEDULER)
    app.Beat().install_sync_handler(service)
    yield service
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.django_db
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_asks_nothing_of_a_database_that_may_be_in_the_middle_of_a_query(
    service: Service, django_assert_num_queries: DjangoAssertNumQueries, number: signal.Signals
) -> None:
    with django_assert_num_queries(0), pytest.raises(SystemExit):
        signal.raise_signal(number)


@pytest.mark.django_db(transaction=True)  # beat closes its connection before it writes
def test_what_has_run_is_written_on_the_way_out(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = service.scheduler
    scheduler.reserve(scheduler.schedule["sweep_dead_letters"])
    monkeypatch.setattr(scheduler, "tick", lambda: signal.raise_signal(signal.SIGTERM))
    assert PeriodicTask.objects.get(name="sweep_dead_letters").total_run_count == 0

    service.start()

    assert PeriodicTask.objects.get(name="sweep_dead_letters").total_run_count == 1
