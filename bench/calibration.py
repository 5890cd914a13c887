"""Fit how evidence becomes probability: python -P bench/calibration.py [--library build/library].

Over the seen half of a library that bench/quality.py has replayed it looks for the power and the lapse (`calibration` in config/default.yaml, and its
default in config/model.py) under which what really happened is likeliest, and says what that makes of both halves. One incident more is imagined of which
the model of evidence knew nothing: that it failed nowhere among some dozens is no proof that it never does.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from rollguard.replay.scoring import causes_of, read_result, read_truth, split_of

ROOT = Path(__file__).resolve().parents[1]
POWERS = np.linspace(0.4, 1.0, 25)
LAPSES = np.linspace(0.005, 0.3, 60)
#: Prior of "no change", as in incidents/blame.py.
NO_CHANGE = 0.4
#: What is not told is no likelier than this.
UNTOLD = 1e-4


@dataclass(frozen=True)
class Weighed:
    """One incident: those told, "no change" last.

    Attributes
    ----------
    odds : (n,) float64
        Log odds against "no change", prior included.
    nats : (n,) float64
        Evidence.
    is_true : (n,) bool
    """

    odds: np.ndarray
    nats: np.ndarray
    is_true: np.ndarray

    def probabilities(self, power: float, lapse: float) -> np.ndarray:
        """(n,) what a calibration makes of it."""
        odds = np.exp(np.clip(self.odds + (power - 1.0) * self.nats, -60.0, 60.0))
        prior = np.exp(np.clip(self.odds - self.nats, -60.0, 0.0)) * NO_CHANGE
        return np.asarray((1.0 - lapse) * odds / odds.sum() + lapse * prior)


def main() -> None:
    """Fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, default=ROOT / "build" / "library")
    asked = parser.parse_args()
    halves = {half: list(weighed(asked.library, half)) for half in ("seen", "unseen")}
    n = len(halves["seen"])
    loss = np.array([[n * surprise(halves["seen"], power, lapse) - math.log(lapse * NO_CHANGE) for lapse in LAPSES] for power in POWERS])
    best = np.unravel_index(int(loss.argmin()), loss.shape)
    power, lapse = float(POWERS[best[0]]), float(LAPSES[best[1]])
    print("| half | incidents | power | lapse | nats an incident |")
    print("|---|---|---|---|---|")
    for half, each in halves.items():
        for tried in ((1.0, 0.0), (power, lapse)):
            print(f"| {half} | {len(each)} | {tried[0]:.3f} | {tried[1]:.3f} | {surprise(each, *tried):.3f} |")
    print(f"\nThe fit: power {power:.3f}, lapse {lapse:.3f}.")


def weighed(library: Path, half: str) -> Iterable[Weighed]:
    """Incidents of one half that had suspects."""
    for folder in sorted((library / "cases").iterdir()):
        truth = read_truth(folder)
        out = library / "results" / folder.name
        if split_of(folder.name) != half or not (out / "incidents.jsonl").is_file():
            continue
        causes = causes_of(truth, read_result(out))
        for line in (out / "incidents.jsonl").read_bytes().splitlines():
            incident = msgspec.json.decode(line)
            told = incident["suspects"]
            if not told:
                continue
            alone = np.array([each["uncalibrated"] for each in told])
            none = max(1.0 - alone.sum(), 1e-9)
            theirs = causes[incident["incident_id"]]
            yield Weighed(
                odds=np.append(np.log(np.maximum(alone, 1e-9) / none), 0.0),
                nats=np.append([sum(each["evidence"].values()) for each in told], 0.0),
                is_true=np.append([each["deploy_id"] in theirs for each in told], not theirs),
            )


def surprise(each: list[Weighed], power: float, lapse: float) -> float:
    """Mean of -log of what was said of what is true."""
    said = [float(one.probabilities(power, lapse)[one.is_true].sum()) for one in each]
    return sum(-math.log(max(probability, UNTOLD)) for probability in said) / max(len(said), 1)


if __name__ == "__main__":
    main()
