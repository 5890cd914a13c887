"""Signals and changes in, incidents and decisions out. Never acts, never reads a clock."""

from rollguard.incidents.blame import probability_without
from rollguard.incidents.cdevents import change_sightings, sightings
from rollguard.incidents.changes import ChangeRefusedError
from rollguard.incidents.desk import Desk
from rollguard.incidents.log import LogCodec, LogError, LogRecord
from rollguard.incidents.records import ChangeSeen, Command, Decision, Entry, IncidentState, Kill, Plan, Pulse, Rollback, RolledBack, Suspect, Verb

__all__ = [
    "ChangeRefusedError",
    "ChangeSeen",
    "Command",
    "Decision",
    "Desk",
    "Entry",
    "IncidentState",
    "Kill",
    "LogCodec",
    "LogError",
    "LogRecord",
    "Plan",
    "Pulse",
    "Rollback",
    "RolledBack",
    "Suspect",
    "Verb",
    "change_sightings",
    "probability_without",
    "sightings",
]
