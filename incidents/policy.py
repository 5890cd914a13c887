"""What may be done about an incident: each condition of an automatic rollback, with a sentence for each.

Judging only: nothing here acts. Doubt goes to a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollguard.config import Mode

__all__ = ["CONDITIONS", "Facts", "Judgement", "judge"]

#: How long before the onset another change may have reached the same place and still be a rival.
LAG_WINDOW_MIN = 10.0
#: Evidence in nats from which a comparison of versions is grounds to act.
VERSION_GROUNDS_NATS = 3.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a judgement is based on.

    Attributes
    ----------
    mode : Mode
    verdict : str
    suspect : str
        Deploy id of the first suspect.
    probability, second_probability : float
    needed_probability, needed_lead : float
    away : bool
        Some series is still away from its baseline.
    sure : bool
        A detector has signalled, or the trial of a change has passed the square of what it takes to page.
    symptom_before : bool
        The symptom was there before the change reached the place.
    unreached_well : tuple of str
        Places it did not reach that surely stayed well.
    version_nats : float
        What the comparison of versions says.
    reaches_all : bool
        It went everywhere there is.
    within_window : bool
        The onset lies inside the change's own window.
    sources : tuple of str
        Sources whose signals have left their baseline.
    rivals : tuple of str
        Other changes that reached the place within the lag window.
    reversible : bool
        Declared so by every record, with a version to go back to.
    to_version : str or None
    target_known_good : bool
        That version was live long enough without an incident.
    rolled_back_before : bool
        This change, in whatever scope: a wider one needs a person.
    rollbacks_left : int
    cool_down : bool
        The service's cool-down is running.
    kill_switch : bool
    stale_ms : int
        Age of the data at the moment of judging; 0 in a replay.
    missing : tuple of str
        Metrics whose last buckets are missing or uncertain.
    only_silence : bool
        The incident rests on buckets closed by silence alone, or nearly so.
    feed_silent : bool
        The change feed has fallen silent.
    trust : str
        Why the service has not earned to be acted on without a person; empty: it has, or it was granted.
    freeze : str
        Why nothing may be rolled back now; empty: it may.
    protected : bool
        The service is Rollguard, what it runs on, or what carries out its rollbacks.
    executor : bool
        Something carries out rollbacks of the service.
    compares : bool
        It refuses by itself to touch a version other than the one that was judged.
    unreached_hurt : tuple of str
        Places it did not reach that hurt all the same.
    own_symptom : bool
        Its own service hurts, or no event names a service.
    disputed : str
        Another open incident that hurts in the same way and of which another change is suspected, another change that was called guilty of
        this one before, or a version that no record speaks of and that may have done it, in words; empty: none of them.
    """

    mode: Mode
    verdict: str
    suspect: str
    probability: float
    second_probability: float
    needed_probability: float
    needed_lead: float
    away: bool
    sure: bool
    symptom_before: bool
    unreached_well: tuple[str, ...]
    version_nats: float
    reaches_all: bool
    within_window: bool
    sources: tuple[str, ...]
    rivals: tuple[str, ...]
    reversible: bool
    to_version: str | None
    target_known_good: bool
    rolled_back_before: bool
    rollbacks_left: int
    cool_down: bool
    kill_switch: bool
    stale_ms: int
    missing: tuple[str, ...]
    only_silence: bool
    feed_silent: bool
    trust: str
    freeze: str
    protected: bool
    executor: bool
    compares: bool
    unreached_hurt: tuple[str, ...] = ()
    own_symptom: bool = True
    disputed: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Outcome of all conditions.

    Attributes
    ----------
    reasons : tuple of str
        Sentences of the conditions that hold.
    blocked_by : tuple of str
        Sentences of those that do not; empty: it may be rolled back.
    failed : tuple of str
        Their names.
    """

    reasons: tuple[str, ...]
    blocked_by: tuple[str, ...]
    failed: tuple[str, ...]


Check = Callable[[Facts], tuple[bool, str]]


def _mode(f: Facts) -> tuple[bool, str]:
    sentences = {
        Mode.OBSERVE: "the mode is observe: nobody is paged and nothing is done",
        Mode.ADVISE: "the mode is advise: the plan is told, a person acts",
        Mode.APPROVE: "the mode is approve: a person has to confirm the plan",
        Mode.AUTO: "the mode is auto",
    }
    return f.mode is Mode.AUTO, sentences[f.mode]


def _trust(f: Facts) -> tuple[bool, str]:
    return not f.trust, f"auto is not earned: {f.trust}" if f.trust else "auto is earned or granted"


def _freeze(f: Facts) -> tuple[bool, str]:
    return not f.freeze, f"nothing is rolled back now: {f.freeze}" if f.freeze else "no freeze is on"


def _protected(f: Facts) -> tuple[bool, str]:
    return not f.protected, (
        "its service is protected: Rollguard does not touch itself, nor what it stands on" if f.protected else "its service is not protected"
    )


def _executor(f: Facts) -> tuple[bool, str]:
    return f.executor, "a target carries out its rollbacks" if f.executor else "no target carries out its rollbacks (`respond.targets`)"


def _compares(f: Facts) -> tuple[bool, str]:
    return f.compares, (
        "its target touches nothing but the version that was judged"
        if f.compares
        else "its target does not compare by itself: between reading the version and rolling it back another may go live"
    )


def _verdict(f: Facts) -> tuple[bool, str]:
    held = f.verdict == "guilty" and f.probability >= f.needed_probability
    return held, (
        f"{f.suspect} is the cause with a probability of {_pct(f.probability)}"
        if held
        else f"the verdict is {f.verdict.replace('_', ' ')}: {f.suspect or 'no change'} has {_pct(f.probability)}, {_pct(f.needed_probability)} is needed"
    )


def _lead(f: Facts) -> tuple[bool, str]:
    lead = f.probability - f.second_probability
    return lead >= f.needed_lead, f"its lead over the second suspect is {_pct(lead)}, {_pct(f.needed_lead)} is needed"


def _away(f: Facts) -> tuple[bool, str]:
    return f.away, "it still hurts" if f.away else "everything has come back: there is nothing left to undo"


def _sure(f: Facts) -> tuple[bool, str]:
    return f.sure, "the evidence is enough to act" if f.sure else "the evidence is enough to page, but not yet to act: it may still be chance"


def _absent_before(f: Facts) -> tuple[bool, str]:
    if f.symptom_before:
        return False, "the symptom was there before the change"
    return True, "the symptom was absent before the change"


def _grounds(f: Facts) -> tuple[bool, str]:
    # One change whose record of a place is late looks like two; a provider that fails in two regions like the change of one of them.
    struck = f"{', '.join(f.unreached_hurt)} hurts although it was not reached, so something else is wrong there at least" if f.unreached_hurt else ""
    if f.disputed or struck:
        return False, f"no grounds: {f.disputed or struck}"
    if f.unreached_well:
        return True, f"grounds: {', '.join(f.unreached_well)}, which it did not reach, stayed well"
    if f.version_nats >= VERSION_GROUNDS_NATS:
        return True, f"grounds: the new version does worse than the old one beside it ({f.version_nats:+.1f} nats)"
    if not f.reaches_all:
        return False, "no grounds: no place it did not reach is surely well, and no version stands beside it"
    lacking = []
    if not f.within_window:
        lacking.append("the onset lies outside the change's own window")
    if len(f.sources) < 2:
        lacking.append(f"only {', '.join(f.sources) or 'no source'} shows it, two different sources are needed")
    if f.rivals:
        lacking.append(f"{', '.join(f.rivals)} reached the same place within {LAG_WINDOW_MIN:.0f} min")
    if not f.own_symptom:
        # Then nothing but the minute speaks for it, and in a busy shop some change is always rolling out.
        lacking.append("its own service shows no symptom")
    if lacking:
        return False, "no grounds: it went everywhere at once, and " + "; ".join(lacking)
    return True, (
        f"grounds: it went everywhere at once, the onset lies inside its window, {' and '.join(f.sources)} agree, and no other change reached the place"
    )


def _target(f: Facts) -> tuple[bool, str]:
    if f.to_version is None:
        return False, "no version to go back to is known"
    if not f.target_known_good:
        return False, f"version {f.to_version} is not known to be good: it was not live for long enough without incident just before"
    return True, f"version {f.to_version} was live before without incident"


def _reversible(f: Facts) -> tuple[bool, str]:
    return f.reversible, "it is declared reversible" if f.reversible else "it is not declared reversible (unknown is no)"


def _once(f: Facts) -> tuple[bool, str]:
    return not f.rolled_back_before, ("it was rolled back before" if f.rolled_back_before else "it was not rolled back before")


def _budget(f: Facts) -> tuple[bool, str]:
    return f.rollbacks_left > 0, (f"the rollback budget has {f.rollbacks_left} left" if f.rollbacks_left > 0 else "the rollback budget is used up")


def _cool_down(f: Facts) -> tuple[bool, str]:
    return not f.cool_down, "the service is cooling down" if f.cool_down else "no cool-down is running"


def _kill_switch(f: Facts) -> tuple[bool, str]:
    return not f.kill_switch, "the kill switch is on" if f.kill_switch else "the kill switch is off"


def _data(f: Facts) -> tuple[bool, str]:
    if f.stale_ms > 60_000:
        return False, f"the data is {f.stale_ms / 1000:.0f} s old, at most 60 s are allowed"
    if f.missing:
        return False, f"the data of {', '.join(f.missing)} is missing or uncertain"
    if f.only_silence:
        return False, "only silence speaks for it: no event came at all, which a broken pipe looks like too"
    if f.feed_silent:
        return False, "the change feed is silent: what else changed is unknown"
    return True, "the data is fresh and complete"


#: Name and check of every condition, in the order they are told.
CONDITIONS: tuple[tuple[str, Check], ...] = (
    ("mode", _mode),
    ("trust", _trust),
    ("verdict", _verdict),
    ("lead", _lead),
    ("away", _away),
    ("sure", _sure),
    ("absent_before", _absent_before),
    ("grounds", _grounds),
    ("target", _target),
    ("reversible", _reversible),
    ("once", _once),
    ("budget", _budget),
    ("cool_down", _cool_down),
    ("kill_switch", _kill_switch),
    ("freeze", _freeze),
    ("protected", _protected),
    ("executor", _executor),
    ("compares", _compares),
    ("data", _data),
)


def judge(facts: Facts) -> Judgement:
    """Check every condition of an automatic rollback.

    Parameters
    ----------
    facts : Facts

    Returns
    -------
    Judgement
        It may be rolled back only if `blocked_by` is empty.
    """
    outcomes = [(name, *check(facts)) for name, check in CONDITIONS]
    return Judgement(
        reasons=tuple(sentence for _, held, sentence in outcomes if held),
        blocked_by=tuple(sentence for _, held, sentence in outcomes if not held),
        failed=tuple(name for name, held, _ in outcomes if not held),
    )


def _pct(share: float) -> str:
    return f"{100.0 * share:.0f} %"
