"""Keys of webhooks and clusters that are watched: what a config may say of them, and what is told of what it may not."""

from __future__ import annotations

import pytest

from rollguard.config import Cluster, ConfigError, Layer, Settings, default_text, load_layers


def settings_of(text: str) -> Settings:
    return load_layers([Layer(default_text(), "default.yaml"), Layer(text, "shop.yaml")])


@pytest.mark.parametrize(
    ("text", "is_on", "is_written"),
    [
        ("", False, False),
        ("changes: {http: {rate: {requests: 3, per: 30s}}}", False, False),
        ("changes: {http: {keys: {ci: {secret: 'env:X'}}}}", True, True),
        ("changes: {http: {github: {shop: {secret: 'env:X'}}}}", True, True),
        ("changes: {http: {argocd: {shop: {secret: 'env:X'}}}}", True, True),
        ("changes: {kubernetes: {eu: {}}}", False, True),
    ],
)
def test_nothing_is_on_as_shipped_and_each_way_by_itself(text: str, is_on: bool, is_written: bool) -> None:
    changes = settings_of(text).changes
    assert (changes.http.is_on, changes.is_written) == (is_on, is_written)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("changes: {http: {keys: {ci: {secret: whsec_YWFh}}}}", "changes.http.keys.ci.secret", "env:"),
        ("changes: {http: {keys: {ci: {}}}}", "changes.http.keys.ci", "secret"),
        ("changes: {http: {github: {shop: {secret: 'env:X', fields: {version: 'deployment.['}}}}}", "changes.http.github.shop.fields.version", ""),
        ("changes: {http: {argocd: {shop: {secret: 'env:X', repositories: {a: [b]}}}}}", "changes.http.argocd.shop.repositories", "unknown key"),
        ("changes: {http: {rate: {requests: 0}}}", "changes.http.rate.requests", ""),
        ("changes: {kubernetes: {eu: {namespace: shop}}}", "changes.kubernetes.eu.namespace", "Did you mean 'namespaces'"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, where: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(text)
    assert f"shop.yaml:1: {where}" in str(caught.value)
    assert words in str(caught.value)


def test_in_a_pod_the_clusters_own_certificates_are_trusted_and_elsewhere_those_that_are_named_or_the_systems() -> None:
    outside = "https://k8s.example:6443"
    assert Cluster().trusted == "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    assert (Cluster(url=outside).trusted, Cluster(url=outside, ca_file="/ca.pem").trusted) == (None, "/ca.pem")
