"""Rollguard: finds the change that hurt customers, and says or undoes it.

The rooms stand beside this package (`rollguard.config`, `rollguard.streams`, ...); this root holds the version and nothing else.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
