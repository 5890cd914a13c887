"""What an operator wrote in, checked settings out. Never reads a clock, the environment or a topic."""

from rollguard.config.document import Node, parse
from rollguard.config.durations import format_duration, parse_duration
from rollguard.config.errors import ConfigError, Mistake, RollguardError, near_match, printable
from rollguard.config.hashes import metric_hash, settings_hash
from rollguard.config.layers import Layer, default_text, load, load_layers, read_layer
from rollguard.config.model import (
    Accept,
    Baseline,
    Budget,
    Changes,
    Kind,
    Labels,
    Metric,
    Mode,
    Model,
    MoneyClock,
    Place,
    Policy,
    Service,
    Settings,
    Source,
    Worse,
)
from rollguard.config.places import split_holidays

__all__ = [
    "Accept",
    "Baseline",
    "Budget",
    "Changes",
    "ConfigError",
    "Kind",
    "Labels",
    "Layer",
    "Metric",
    "Mistake",
    "Mode",
    "Model",
    "MoneyClock",
    "Node",
    "Place",
    "Policy",
    "RollguardError",
    "Service",
    "Settings",
    "Source",
    "Worse",
    "default_text",
    "format_duration",
    "load",
    "load_layers",
    "metric_hash",
    "near_match",
    "parse",
    "parse_duration",
    "printable",
    "read_layer",
    "settings_hash",
    "split_holidays",
]
