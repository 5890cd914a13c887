"""That an incident opened stands in the log in every mode, also where nobody is paged for it."""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.incidents import scenes
from tests.service.simulated import Cluster, SimulatedStore
from tests.service.test_restoring import read_by_the_desk, records


def test_an_incident_that_nobody_is_paged_for_stands_in_the_log_once() -> None:
    settings = scenes.settings_with("mode: observe\n")
    with capture_logs() as lines:
        read_by_the_desk(settings, SimulatedStore(Cluster("rollguard", {}, scenes.START_MS)), records(settings))  # type: ignore[arg-type]
    (opened,) = [line for line in lines if line["event"] == "incident_opened"]
    assert opened["stage"] == "desk"
    assert (opened["verdict"], opened["suspect"], opened["metrics"], opened["regions"]) == ("guilty", "chg-1", ("orders",), ("eu-west",))
    assert opened["incident_id"].startswith("inc-")
