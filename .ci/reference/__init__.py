"""The code in, pages of the reference out: what an operator looks up is never written a second time."""
