"""Sends an application's logs and events to Forebay, without ever blocking or breaking the application."""

from forebay_client.wire import Outcome, Place, Rejection

__all__ = ["Outcome", "Place", "Rejection"]
