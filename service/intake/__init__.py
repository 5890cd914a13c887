"""Webhooks and watched Deployments in, change records on their topic out. Never judges a change, and takes nothing from whom it does not know."""

from rollguard.service.intake.counting import Counted
from rollguard.service.intake.limits import Limits
from rollguard.service.intake.records import Channel, ForgedError, LimitedError, TurnedAwayError
from rollguard.service.intake.routes import body_of, routes_of, turned_away
from rollguard.service.intake.setting_up import channels_of
from rollguard.service.intake.taking import Receiver, Write, as_written
from rollguard.service.intake.watching import ClusterWatch
from rollguard.service.intake.writing import AwayError, writer

__all__ = [
    "AwayError",
    "Channel",
    "ClusterWatch",
    "Counted",
    "ForgedError",
    "LimitedError",
    "Limits",
    "Receiver",
    "TurnedAwayError",
    "Write",
    "as_written",
    "body_of",
    "channels_of",
    "routes_of",
    "turned_away",
    "writer",
]
