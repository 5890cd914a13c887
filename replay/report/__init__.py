"""What a replay found in, a page out that one would attach to a post-mortem. Reads no event and no clock, and decides nothing."""

from rollguard.replay.report.minutes import Minutes
from rollguard.replay.report.page import drawn, html_of
from rollguard.replay.report.telling import told
from rollguard.replay.report.words import in_words, lasting

__all__ = ["Minutes", "drawn", "html_of", "in_words", "lasting", "told"]
