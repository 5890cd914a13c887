"""Hypothesis profiles: `ci` repeats itself exactly, `dev` takes fresh seeds. CI=1 in the environment chooses."""

import os

from hypothesis import HealthCheck, settings

# No deadline in either: on a shared machine it fails for being slow, which is not what any property promises.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "dev")
