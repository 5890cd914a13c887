"""A kind and a seed in, a case with the whole truth about it out: shops made of chance numbers, and what goes wrong in them.

Never reads a case, and knows nothing of how one is judged.
"""

from rollguard.replay.simulation.kinds import Kind, case_kinds, kinds_table
from rollguard.replay.simulation.library import Recipe, Simulated, simulate_case
from rollguard.replay.simulation.march import march_story
from rollguard.replay.simulation.story import Story, write_case

__all__ = ["Kind", "Recipe", "Simulated", "Story", "case_kinds", "kinds_table", "march_story", "simulate_case", "write_case"]
