"""A past incident's files or topics in, its timeline and results out. Never calls a pager or a target, never reads labels."""

from rollguard.replay.affected import make_file, write_affected
from rollguard.replay.case import Case, CaseError, open_case
from rollguard.replay.pipeline import Progress, Replay
from rollguard.replay.produce import Produced, produce_case
from rollguard.replay.report import html_of
from rollguard.replay.run import OutError, Run, make_out, run_case, run_of
from rollguard.replay.simulation import Kind, Recipe, Simulated, Story, case_kinds, kinds_table, march_story, simulate_case, write_case
from rollguard.replay.timeline import fold, line_of
from rollguard.replay.window import Window, open_window

__all__ = [
    "Case",
    "CaseError",
    "Kind",
    "OutError",
    "Produced",
    "Progress",
    "Recipe",
    "Replay",
    "Run",
    "Simulated",
    "Story",
    "Window",
    "case_kinds",
    "fold",
    "html_of",
    "kinds_table",
    "line_of",
    "make_file",
    "make_out",
    "march_story",
    "open_case",
    "open_window",
    "produce_case",
    "run_case",
    "run_of",
    "simulate_case",
    "write_affected",
    "write_case",
]
