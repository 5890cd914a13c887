"""Carries out rollbacks: at most once each, only what was judged, and in doubt not at all.

Judging and acting are apart: here is checked only whether what was decided may still be done. The order is: what forbids it, what is live, intent into
the ledger, what forbids it and the lease once more, the call, its outcome. Whatever ends between the call and its outcome is unknown, and a
person's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, get_args

import msgspec
import structlog

from rollguard.config import Settings, folded
from rollguard.incidents import Plan, RolledBack
from rollguard.responders.records import MovedError, Prepared, RefusedError, Step, Target, TargetError, UnknownError
from rollguard.responders.switch import KillSwitch
from rollguard.responders.telling import Notice
from rollguard.store import LedgerRow, OutboxRow, Store

__all__ = ["Executor", "Intent"]

log = structlog.get_logger()

Outcome = Literal["done", "failed", "unknown", "expired"]
#: A call and its confirmation have to be over by then, besides what the target asks for.
LEASE_MS = 2 * 60_000
#: How often a target is asked whether it is there yet, in seconds.
ASK_S = 2.0


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a row of the outbox that asks for a rollback.

    Attributes
    ----------
    plan : Plan
    approved_by : tuple of str
        Empty: it is automatic.
    reasons : tuple of str
    """

    plan: Plan
    approved_by: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


class Executor:
    """Does what is due, one rollback at a time; several may run beside each other.

    Parameters
    ----------
    store : Store
    settings : Settings
    targets : mapping of str to Target
        By name.
    tell : callable
        Appends what became of a rollback to the signals log.
    now_ms : callable
        The clock on the wall.
    taken_by : str
        Who we are; another name after each start.
    sleep : callable
        Waits for some seconds.
    """

    #: The flag that says how far the desk has come, epoch ms.
    FRONTIER = "frontier"
    #: Data older than this are not acted on.
    FRESH_MS = 60_000

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        targets: Mapping[str, Target],
        tell: Callable[[RolledBack], Awaitable[None]],
        now_ms: Callable[[], int],
        taken_by: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store = store
        self.settings = settings
        self.targets = targets
        self.tell = tell
        self.now_ms = now_ms
        self.taken_by = taken_by
        self.sleep = sleep
        self.switch = KillSwitch(store, settings.respond.kill_switch)
        self._lease_ms = LEASE_MS + max((target.confirm_ms + 3 * target.timeout_ms for target in settings.respond.targets.values()), default=0)

    async def recall(self, since_ms: int) -> None:
        """Tell once more what became of rollbacks since a moment: a process may have ended between an outcome and its telling."""
        settled = await asyncio.to_thread(self.store.outbox, kinds=["rollback"], settled_since_ms=since_ms)
        for row in settled:
            if row.state in get_args(Outcome):
                await self.tell(_told(row.incident_id, row.settled_ms or 0, row.state, row.detail))

    async def sweep(self) -> None:
        """End what nobody carried out in time, and what somebody took and never spoke of again."""
        for row in await asyncio.to_thread(self.store.overdue, self.now_ms()):
            await self._end(row, "expired", "nothing carried it out within its time: it is dropped, and left to a person")
        for row in await asyncio.to_thread(self.store.unknown, self.now_ms()):
            await self._ask(row)

    async def once(self) -> bool:
        """Carry out the rollback that has waited longest; whether there was one."""
        rows = await self.take(1)
        for row in rows:
            await self.carry_out(row)
        return bool(rows)

    async def take(self, limit: int) -> list[OutboxRow]:
        """Take what has waited longest; each has to be carried out at once, as its lease runs."""
        return await asyncio.to_thread(self.store.due, ["rollback"], self.now_ms(), limit, taken_by=self.taken_by, lease_ms=self._lease_ms)

    async def carry_out(self, row: OutboxRow) -> None:
        """Carry out one that was taken."""
        asked = _read(row)
        if asked is None:
            await self._end(row, "failed", "not carried out: what was asked for cannot be read, another version of Rollguard wrote it")
            return
        why_not = await asyncio.to_thread(self._forbidden, asked)
        target = self._target(asked.plan.service)
        if target is None:
            why_not = why_not or f"no target carries out rollbacks of {asked.plan.service}"
        elif not asked.approved_by and target.cas != "native":
            why_not = why_not or "its target does not compare by itself, and nobody has approved it"
        if why_not or target is None:
            await self._end(row, "failed", f"not carried out: {why_not}")
            return
        steps = _steps(row, asked)
        try:
            prepared = [await target.plan(step) for step in steps]
        except TargetError as error:
            await self._end(row, "failed", f"nothing was changed: {error}")
            return
        except Exception as error:  # noqa: BLE001 - whatever a target's answer breaks, nothing was asked for yet
            await self._end(row, "failed", f"nothing was changed: {_broken(error)}")
            return
        intent = {"row": row.id, "plan": asked.plan.hash, "steps": [each.what for each in prepared], "approved_by": asked.approved_by}
        await asyncio.to_thread(self.store.append, [self._ledger("intent", row, intent)])
        outcome, detail = await self._execute(row, asked, target, prepared)
        await self._end(row, outcome, detail)

    async def _execute(self, row: OutboxRow, asked: Intent, target: Target, prepared: list[Prepared]) -> tuple[Outcome, str]:
        done: list[str] = []
        for each in prepared:
            # Once more before each call, since planning and the call before it took their time.
            why_not = await asyncio.to_thread(self._forbidden, asked)
            if not why_not and not await asyncio.to_thread(self.store.holds, row.id, self.taken_by, self.now_ms()):
                why_not = "it is not ours any more, or too old"
            if why_not:
                return "failed", _partly(done, prepared, f"stopped before the call: {why_not}")
            try:
                await target.execute(each)
            except (MovedError, RefusedError) as error:
                return "failed", _partly(done, prepared, str(error))
            except UnknownError as error:
                if await self._is_live(target, each.step):
                    done.append(each.what)
                    continue
                return "unknown", _partly(done, prepared, f"nobody knows whether it was done: {error}. Look before anything else")
            except Exception as error:  # noqa: BLE001 - the call may have been made
                return "unknown", _partly(done, prepared, f"nobody knows whether it was done: {_broken(error)}. Look before anything else")
            done.append(each.what)
        return await self._confirm(target, [each.step for each in prepared])

    async def _confirm(self, target: Target, steps: list[Step]) -> tuple[Outcome, str]:
        """Wait until every step is live, or it is too late."""
        name = self._target_name(steps[0].service)
        until_ms = self.now_ms() + self.settings.respond.targets[name].confirm_ms
        while True:
            try:
                found = [await target.confirm(step) for step in steps]
            except Exception as error:  # noqa: BLE001 - it was taken, and may be under way
                return "unknown", f"the target took it, and cannot say how far it has come: {_broken(error)}"
            if all(each == "live" for each in found):
                return "done", f"{steps[0].to_version} is live again in {', '.join(step.region or 'all places' for step in steps)}"
            if "failed" in found:
                return "unknown", "the target took it, and it does not come up: look at it"
            if self.now_ms() >= until_ms:
                return "unknown", f"the target took it, and has not brought it up within its time ({', '.join(found)}): look at it"
            await self.sleep(ASK_S)

    async def _ask(self, row: OutboxRow) -> None:
        """End a rollback that somebody took and never spoke of again, by what is live."""
        asked = _read(row)
        target = None if asked is None else self._target(asked.plan.service)
        if asked is not None and target is not None and all([await self._is_live(target, step) for step in _steps(row, asked)]):
            await self._end(row, "done", "whoever carried it out ended before saying so; the target says that it is live")
        else:
            await self._end(row, "unknown", "whoever carried it out ended before saying so: look at what is live before anything else")

    @staticmethod
    async def _is_live(target: Target, step: Step) -> bool:
        try:
            return await target.current(step) == step.to_version
        except Exception:  # noqa: BLE001 - who cannot say that it is live has not said so
            return False

    def _forbidden(self, asked: Intent) -> str:
        """Why it may not be done now, in a sentence; empty: it may."""
        now_ms, plan, respond = self.now_ms(), asked.plan, self.settings.respond
        if why_on := self.switch.why_on():
            return why_on
        if folded(plan.service) in {folded(each) for each in respond.protected}:
            return f"{plan.service} is protected"
        for span in (*respond.freezes, *respond.planned):
            if span.holds(plan.service, now_ms) and len(asked.approved_by) < 2:
                return f"nothing is rolled back now without two persons: {span.reason}"
        frontier = self.store.flag(self.FRONTIER)
        if frontier is None or now_ms - int(frontier.value) > self.FRESH_MS:
            return "the data is older than a minute, so what was judged may be over"
        return ""

    def _target_name(self, service: str) -> str:
        return self.settings.service(service).target or ""

    def _target(self, service: str) -> Target | None:
        return self.targets.get(self._target_name(service))

    async def _end(self, row: OutboxRow, outcome: Outcome, detail: str) -> None:
        """Write the outcome, tell those who were told of the rollback, and the desk."""
        now_ms = self.now_ms()
        log.warning("rollback_over", incident_id=row.incident_id, outcome=outcome, detail=detail)
        follow = await asyncio.to_thread(self._pages, row, outcome, detail)
        told = [self._ledger(outcome, row, {"row": row.id, "detail": detail})]
        stands = await asyncio.to_thread(self.store.settle, row.id, self.taken_by, outcome, now_ms, detail=detail, follow=follow, ledger_rows=told)
        if stands:
            await self.tell(_told(row.incident_id, now_ms, outcome, detail))

    def _pages(self, row: OutboxRow, outcome: Outcome, detail: str) -> list[OutboxRow]:
        found: dict[str, OutboxRow] = {}
        for each in self.store.outbox(kinds=["page"], incident_id=row.incident_id):
            notice = msgspec.json.decode(each.body, type=Notice)
            if notice.event != "trigger":
                continue
            says = f"the rollback is {'done' if outcome == 'done' else 'in doubt' if outcome == 'unknown' else 'not carried out'}: {detail}"
            changed = f"Rollguard rolled back: {detail}" if outcome == "done" else ""
            body = msgspec.json.encode(msgspec.structs.replace(notice, because=says, changed=changed, decision=None, next=None))
            name = f"{row.id}/{outcome}/{notice.pager}"
            found[name] = OutboxRow(id=name, kind="page", incident_id=row.incident_id, dedup_key=each.dedup_key, at_ms=row.at_ms, body=body)
        return list(found.values())

    def _ledger(self, kind: str, row: OutboxRow, body: dict[str, Any]) -> LedgerRow:
        return LedgerRow(at_ms=self.now_ms(), kind=f"rollback.{kind}", body=msgspec.json.encode({"incident_id": row.incident_id, **body}))


def _read(row: OutboxRow) -> Intent | None:
    try:
        return msgspec.json.decode(row.body, type=Intent)
    except msgspec.DecodeError:
        return None


def _steps(row: OutboxRow, asked: Intent) -> list[Step]:
    plan = asked.plan
    return [
        Step(
            intent=f"{plan.hash}/{region or '*'}",
            service=plan.service,
            region=region,
            expected_version=plan.expected_version or "",
            to_version=plan.to_version,
            incident_id=row.incident_id,
            reason=asked.reasons[0] if asked.reasons else "",
        )
        for region in (plan.places or (None,))
    ]


def _broken(error: Exception) -> str:
    return f"the target broke ({type(error).__name__}); this is a bug of Rollguard's or of the target's answer"


def _partly(done: list[str], prepared: list[Prepared], detail: str) -> str:
    return f"{len(done)} of {len(prepared)} steps were done ({'; '.join(done)}), then: {detail}" if done else detail


def _told(incident_id: str, at_ms: int, outcome: Any, detail: str) -> RolledBack:
    return RolledBack(incident_id=incident_id, at_ms=at_ms, outcome=outcome, detail=detail)
