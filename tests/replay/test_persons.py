"""Persons who were not there, before a desk that asks them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rollguard.config import Layer, Mode, Settings, default_text, load_layers
from rollguard.detectors import Tick
from rollguard.incidents import Command, Decision, Entry, LogRecord, Plan
from rollguard.replay.persons import Persons, with_persons

MIN = 60_000


@pytest.fixture(scope="module")
def settings() -> Settings:
    return with_persons(load_layers([Layer(default_text(), "default.yaml")]))


def plan(to_version: str = "1.0") -> Plan:
    return Plan(incident_id="inc-1", deploy_id="chg-1", service="checkout", expected_version="2.0", to_version=to_version, places=())


def hold(at_min: float, needs: int, to_version: str = "1.0") -> Decision:
    wanted = plan(to_version) if needs else None
    return Decision(at_ms=round(at_min * MIN), action="hold", target=None, reasons=(), plan=wanted, needs=needs)


class Asking:
    """Says what it was told to say at each minute, and keeps what it hears."""

    def __init__(self, settings: Settings, says: Iterable[Decision]) -> None:
        self.settings, self.says, self.heard = settings, sorted(says, key=lambda each: each.at_ms), list[Command]()

    def feed(self, records: Iterable[LogRecord]) -> list[Entry]:
        out = []
        for record in records:
            if isinstance(record, Command):
                self.heard.append(record)
            elif isinstance(record, Tick):
                now_ms = (record.bucket + 1) * self.settings.bucket_ms + 20_000
                while self.says and self.says[0].at_ms <= now_ms:
                    said = self.says.pop(0)
                    out.append(Entry(at_ms=said.at_ms, event="decided", incident_id="inc-1", decision=said))
        return out


def heard(settings: Settings, *says: Decision, after_min: float = 5.0) -> list[tuple[float, str, str]]:
    desk = Asking(settings, [Decision(at_ms=10 * MIN, action="page", target=None, reasons=()), *says])
    ticks = [Tick(bucket=bucket, ready=True, accounts=()) for bucket in range(40 * MIN // settings.bucket_ms)]
    for _ in Persons(settings, round(after_min * MIN)).follow(desk, ticks):  # type: ignore[arg-type]
        pass
    return [(each.at_ms / MIN, each.by, each.plan) for each in desk.heard]


def test_the_settings_ask_persons_and_know_two(settings: Settings) -> None:
    assert settings.mode is Mode.APPROVE
    assert {"somebody", "somebody-else"} <= settings.respond.people.keys()


def test_one_approves_where_one_is_needed_and_two_where_two_are(settings: Settings) -> None:
    assert heard(settings, hold(10, 1)) == [(15.0, "somebody", plan().hash)]
    assert heard(settings, hold(10, 2)) == [(15.0, "somebody", plan().hash), (15.0, "somebody-else", plan().hash)]


def test_a_plan_that_comes_later_is_read_for_a_minute(settings: Settings) -> None:
    assert heard(settings, hold(17, 1)) == [(18.0, "somebody", plan().hash)]
    assert heard(settings, hold(10, 1), hold(16, 1, "0.9")) == [(15.0, "somebody", plan().hash), (17.0, "somebody", plan("0.9").hash)]


def test_what_is_withdrawn_before_they_come_is_not_approved(settings: Settings) -> None:
    assert heard(settings, hold(10, 1), hold(14, 0)) == []
    assert heard(settings, hold(10, 0)) == []


def test_a_plan_that_comes_to_need_one_more_gets_the_other_one(settings: Settings) -> None:
    assert heard(settings, hold(10, 1), hold(16, 2)) == [(15.0, "somebody", plan().hash), (15.0, "somebody-else", plan().hash)]
