from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors.evidence import Singles, overshoot


def singles(*values: float) -> Singles:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(("mean", "factor"), [(0.1, 0.03), (0.3, 0.03), (0.3, 0.5), (1.0, 0.03), (2.0, 0.5)])
def test_overshoot_of_falls_of_what_is_rare_is_that_of_a_walk(mean: float, factor: float) -> None:
    """Empty buckets climb by small steps, and a hit falls far: under the tilt itself, simulated, over a far threshold."""
    rng = np.random.default_rng(1)
    constant = (1.0 - factor) * mean
    gain = mean * factor * log(factor) + constant
    walk = np.cumsum(constant + log(factor) * rng.poisson(mean * factor, (4000, int(40.0 / gain))), axis=1)
    left = []
    # Steps are all alike, so what is left depends on where the threshold lies between two of them: all such places, in turn.
    for threshold in np.linspace(9.0, 9.0 + constant, 6, endpoint=False).tolist():
        over = walk > threshold
        passed = np.flatnonzero(over.any(axis=1))
        assert len(passed) > 3900
        left.append(float(np.exp(threshold - walk[passed, over[passed].argmax(axis=1)]).mean()))
    found = float(overshoot(singles(gain), None, singles(constant))[0])
    assert found == pytest.approx(float(np.mean(left)), abs=0.08)


@given(gain=st.floats(0.0, 1e6), most=st.floats(0.01, 1e6))
def test_what_no_bucket_can_pass_only_raises_the_factor(gain: float, most: float) -> None:
    bounded = float(overshoot(singles(gain), None, singles(most))[0])
    assert float(overshoot(singles(gain), None)[0]) <= bounded <= 1.0
    # An overshoot is never more than the last step.
    assert bounded >= exp(-min(most, 25.0)) * (1.0 - 1e-6)
