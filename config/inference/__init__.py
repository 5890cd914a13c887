"""Sampled records in, a commented config out that reads them. Asks nobody, opens nothing, and says how sure it is of each guess."""

from rollguard.config.inference.columns import paths_of
from rollguard.config.inference.names import topic_score
from rollguard.config.inference.records import FieldGuess, Given, Inferred, Sample, SourceGuess
from rollguard.config.inference.sources import ROLES, infer
from rollguard.config.inference.text import config_text

__all__ = ["ROLES", "FieldGuess", "Given", "Inferred", "Sample", "SourceGuess", "config_text", "infer", "paths_of", "topic_score"]
