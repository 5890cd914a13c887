"""Kafka at the edge of the house: clients, topics, and the shell that drives a stage. Never knows what a stage concludes."""

from rollguard.streams.kafka.records import Bounds, Logs, Outgoing
from rollguard.streams.kafka.shell import LostError, Reader, Shell, Work, Works

__all__ = ["Bounds", "Logs", "LostError", "Outgoing", "Reader", "Shell", "Work", "Works"]
