"""A page in, told to a person out; one module a kind. Never decides whom to tell."""

from collections.abc import Callable

from rollguard.config import Pager as PagerConfig
from rollguard.responders.pagers.alertmanager import Alertmanager
from rollguard.responders.pagers.apprise_pager import ApprisePager
from rollguard.responders.pagers.log import Log
from rollguard.responders.pagers.pagerduty import PagerDuty
from rollguard.responders.pagers.slack import Slack
from rollguard.responders.pagers.webhook import Webhook
from rollguard.responders.records import Pager

__all__ = ["KINDS", "make_pager"]

#: Another kind is a module, a line here, and one in the config's `Pager.kind`.
KINDS: dict[str, Callable[[str, PagerConfig, str | None], Pager]] = {
    "alertmanager": Alertmanager,
    "apprise": ApprisePager,
    "log": Log,
    "pagerduty": PagerDuty,
    "slack": Slack,
    "webhook": Webhook,
}


def make_pager(name: str, pager: PagerConfig, secret: str | None) -> Pager:
    """Make the pager that a config describes; asks nobody anything yet.

    Parameters
    ----------
    name : str
        Of the pager, in the config.
    pager : rollguard.config.Pager
    secret : str or None
        The secret itself.

    Raises
    ------
    PageError
        If it can never work: a secret that is none of its kind, an address too many, a package that is not installed. Not recoverable.
    """
    return KINDS[pager.kind](f"{name} ({pager.kind})", pager, secret)
