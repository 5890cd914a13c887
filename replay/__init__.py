"""A past incident's files or topics in, its timeline and results out. Never calls a pager or a target, never reads labels."""

from rollguard.replay.affected import make_file, write_affected
from rollguard.replay.case import Case, CaseError, case_folders, open_case
from rollguard.replay.many import Done, Work, replay_all
from rollguard.replay.otherwise import Switches, run_otherwise
from rollguard.replay.out import OutError, make_out
from rollguard.replay.pipeline import Progress, Replay
from rollguard.replay.produce import Produced, produce_case
from rollguard.replay.reader import EventFile, stem_of
from rollguard.replay.report import html_of, in_words, lasting, told
from rollguard.replay.run import Run, run_case, run_of
from rollguard.replay.simulation import Kind, Recipe, Simulated, Story, case_kinds, kinds_table, march_story, simulate_case, write_case
from rollguard.replay.timeline import fold, line_of
from rollguard.replay.window import Window, open_window

__all__ = [
    "Case",
    "CaseError",
    "Done",
    "EventFile",
    "Kind",
    "OutError",
    "Produced",
    "Progress",
    "Recipe",
    "Replay",
    "Run",
    "Simulated",
    "Story",
    "Switches",
    "Window",
    "Work",
    "case_folders",
    "case_kinds",
    "fold",
    "html_of",
    "in_words",
    "kinds_table",
    "lasting",
    "line_of",
    "make_file",
    "make_out",
    "march_story",
    "open_case",
    "open_window",
    "produce_case",
    "replay_all",
    "run_case",
    "run_of",
    "run_otherwise",
    "simulate_case",
    "stem_of",
    "told",
    "write_affected",
    "write_case",
]
