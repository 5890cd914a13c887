"""Decisions in, pages and rollbacks out. Judges nothing: what was not decided is not done, and in doubt a person is told."""

from rollguard.responders.records import MovedError, Page, PageError, Pager, Prepared, RefusedError, Step, Target, TargetError, UnknownError

__all__ = ["MovedError", "Page", "PageError", "Pager", "Prepared", "RefusedError", "Step", "Target", "TargetError", "UnknownError"]
