"""Signals and changes in, incidents and decisions out. Never acts, never reads a clock."""

from rollguard.incidents.blame import probability_without
from rollguard.incidents.cdevents import change_record, change_sightings, sightings
from rollguard.incidents.changes import ChangeRecord, ChangeRefusedError, sightings_of, time_ms
from rollguard.incidents.desk import Desk
from rollguard.incidents.gate import GateAnswer, GateQuestion, Release, answered, learnt, release_of
from rollguard.incidents.log import LogCodec, LogError, LogRecord
from rollguard.incidents.records import (
    ChangeKind,
    ChangeSeen,
    Command,
    Decision,
    Entry,
    IncidentState,
    Kill,
    Plan,
    Probe,
    Pulse,
    Rollback,
    RolledBack,
    Suspect,
    Verb,
)

__all__ = [
    "ChangeKind",
    "ChangeRecord",
    "ChangeRefusedError",
    "ChangeSeen",
    "Command",
    "Decision",
    "Desk",
    "Entry",
    "GateAnswer",
    "GateQuestion",
    "IncidentState",
    "Kill",
    "LogCodec",
    "LogError",
    "LogRecord",
    "Plan",
    "Probe",
    "Pulse",
    "Release",
    "Rollback",
    "RolledBack",
    "Suspect",
    "Verb",
    "answered",
    "change_record",
    "change_sightings",
    "learnt",
    "probability_without",
    "release_of",
    "sightings",
    "sightings_of",
    "time_ms",
]
