"""Labels and results of many cases in, figures with their intervals out. The only reader of labels; never replays anything, never reads a clock."""

from rollguard.replay.scoring.bars import BARS, ENOUGH_CASES, Checked, check_bars
from rollguard.replay.scoring.calibration import Guess, Reliability
from rollguard.replay.scoring.comparing import comparison_of, differences
from rollguard.replay.scoring.judging import causes_of, judge_case, split_of
from rollguard.replay.scoring.labels import Label, LabelsError, Truth, read_truth, truth_of
from rollguard.replay.scoring.matching import Match, match
from rollguard.replay.scoring.measures import MEASURES, Measured, measure
from rollguard.replay.scoring.records import CaseOutcome, FalsePage, LabelOutcome
from rollguard.replay.scoring.results import Found, Result, ResultError, Undo, is_whole, read_result
from rollguard.replay.scoring.score import Halves, Part, Score, ScoresError, read_outcomes, read_score, score_of
from rollguard.replay.scoring.telling import BY_KIND, bar_rows, chance_line, figure_of, interval_of, kind_rows, markdown_of, reliability_rows, remark_lines

__all__ = [
    "BARS",
    "BY_KIND",
    "ENOUGH_CASES",
    "MEASURES",
    "CaseOutcome",
    "Checked",
    "FalsePage",
    "Found",
    "Guess",
    "Halves",
    "Label",
    "LabelOutcome",
    "LabelsError",
    "Match",
    "Measured",
    "Part",
    "Reliability",
    "Result",
    "ResultError",
    "Score",
    "ScoresError",
    "Truth",
    "Undo",
    "bar_rows",
    "causes_of",
    "chance_line",
    "check_bars",
    "comparison_of",
    "differences",
    "figure_of",
    "interval_of",
    "is_whole",
    "judge_case",
    "kind_rows",
    "markdown_of",
    "match",
    "measure",
    "read_outcomes",
    "read_result",
    "read_score",
    "read_truth",
    "reliability_rows",
    "remark_lines",
    "score_of",
    "split_of",
    "truth_of",
]
