"""Sends an application's logs and events to Forebay, without ever blocking or breaking the application."""

from forebay_client.async_client import AsyncClient
from forebay_client.client import Client
from forebay_client.correlation import correlated, correlation_id
from forebay_client.events import Event
from forebay_client.handler import ForebayHandler
from forebay_client.results import Counters, ForebayError, Rejected, Result, Unacknowledged
from forebay_client.wire import Place, Rejection

__all__ = [
    "AsyncClient",
    "Client",
    "Counters",
    "Event",
    "ForebayError",
    "ForebayHandler",
    "Place",
    "Rejected",
    "Rejection",
    "Result",
    "Unacknowledged",
    "correlated",
    "correlation_id",
]
