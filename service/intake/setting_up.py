"""Channels of a config, with their secrets."""

from __future__ import annotations

from rollguard.config import Settings
from rollguard.service.intake.argocd import Argocd
from rollguard.service.intake.github import Github
from rollguard.service.intake.records import Channel
from rollguard.service.intake.signed import Signed
from rollguard.streams.kafka import find_secret

__all__ = ["channels_of"]


def channels_of(settings: Settings) -> list[Channel]:
    """Make the channels that a config has keys for.

    Raises
    ------
    SecretError
        If a secret is not where the config says.
    UnsignedError
        If it is none to sign with.
    """
    http = settings.changes.http

    def secrets(section: str) -> dict[str, str]:
        return {name: find_secret(key.secret, f"changes.http.{section}.{name}.secret") for name, key in getattr(http, section).items()}

    found: list[Channel] = []
    if http.keys:
        found.append(Signed(http.keys, secrets("keys"), settings.environment))
    if http.github:
        found.append(Github(http.github, secrets("github"), settings.environment))
    if http.argocd:
        found.append(Argocd(http.argocd, secrets("argocd"), settings.environment))
    return found
