"""Decisions in, pages and rollbacks out. Judges nothing: what was not decided is not done, and in doubt a person is told."""

from rollguard.responders.carrier import Carrier
from rollguard.responders.executor import Executor, Intent
from rollguard.responders.heartbeat import Heartbeat
from rollguard.responders.listing import ClusterError, Collection, GoneError, deployments_of
from rollguard.responders.mask import Mask
from rollguard.responders.pagers import make_pager
from rollguard.responders.records import Link, MovedError, Page, PageError, Pager, Prepared, RefusedError, Step, Target, TargetError, UnknownError
from rollguard.responders.switch import KillSwitch
from rollguard.responders.targets import image_version, make_target, rolled_out
from rollguard.responders.telling import Notice, page_of
from rollguard.responders.trying import try_pager, try_target

__all__ = [
    "Carrier",
    "ClusterError",
    "Collection",
    "Executor",
    "GoneError",
    "Heartbeat",
    "Intent",
    "KillSwitch",
    "Link",
    "Mask",
    "MovedError",
    "Notice",
    "Page",
    "PageError",
    "Pager",
    "Prepared",
    "RefusedError",
    "Step",
    "Target",
    "TargetError",
    "UnknownError",
    "deployments_of",
    "image_version",
    "make_pager",
    "make_target",
    "page_of",
    "rolled_out",
    "try_pager",
    "try_target",
]
