"""A kind and a seed in, a case with the whole truth about it out: shops made of chance numbers, and what goes wrong in them.

Never reads a case, and knows nothing of how one is judged.
"""

from rollguard.replay.simulation.march import march_story
from rollguard.replay.simulation.story import Story, write_case

__all__ = ["Story", "march_story", "write_case"]
