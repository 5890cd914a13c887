"""How near a name is to what something is usually called."""

import difflib
import re
from collections.abc import Sequence

__all__ = ["FIELD_NAMES", "TOPIC_WORDS", "name_score", "tokens", "topic_score"]

#: What our fields are called elsewhere, the likelier first.
FIELD_NAMES: dict[str, tuple[str, ...]] = {
    name: tuple(known.split())
    for name, known in {
        "ts": "ts timestamp event_time event_ts event_timestamp occurred_at occurred time timestamp_ms ts_ms time_ms created_at created placed_at at when "
        "datetime date_time date logged_at sent_at updated_at",
        "id": "event_id id uuid message_id order_id error_id delivery_id shipment_id request_id trace_id order_number guid key",
        "service": "service service_name svc app application app_name component microservice module system",
        "region": "region region_code market country country_code zone site datacenter dc geo location area city place store",
        "version": "version app_version service_version release build revision git_sha commit sha image_tag tag ver",
        "promised_minutes": "promised_minutes promised promise promise_minutes promised_min eta_minutes eta_min eta estimated_minutes estimate quoted_minutes "
        "expected_minutes",
        "actual_minutes": "actual_minutes actual actual_min delivered_minutes delivery_minutes took_minutes took duration_minutes duration elapsed_minutes "
        "elapsed",
    }.items()
}
#: Words in the names of topics, and of kinds of events.
TOPIC_WORDS: dict[str, tuple[str, ...]] = {
    "orders": ("order", "purchase", "checkout", "sale", "basket", "booking"),
    "errors": ("error", "exception", "failure", "fault", "failed", "crash"),
    "deliveries": ("delivery", "shipment", "shipping", "dispatch", "courier", "promise", "eta"),
    "changes": ("deploy", "deployment", "change", "release", "rollout", "cdevent"),
}
#: Keys that mean something only with what they stand in.
_GENERIC = frozenset({"id", "name", "code", "value", "time", "ts", "at", "key", "minutes", "min", "tag"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def tokens(name: str) -> tuple[str, ...]:
    """Split a name into its words.

    Examples
    --------
    >>> tokens("orderPlacedAt"), tokens("shop.order-events.v2")
    (('order', 'placed', 'at'), ('shop', 'order', 'events', 'v', '2'))
    """
    return tuple(word.lower() for word in _WORD.findall(name))


def name_score(way: Sequence[str], ours: str) -> float:
    """How surely a field is one of ours, by its name alone: 0..1.

    Examples
    --------
    >>> name_score(["regionCode"], "region"), name_score(["service", "name"], "service"), name_score(["amount"], "region")
    (0.99, 1.0, 0.0)
    """
    known = FIELD_NAMES[ours]
    candidates = [tokens(way[-1])]
    if len(way) > 1 and way[-1].lower() in _GENERIC:
        candidates.append(tokens(f"{way[-2]}_{way[-1]}"))
        if way[-1].lower() in {"name", "code", "value"}:
            candidates.append(tokens(way[-2]))
    return max(_score(each, known) for each in candidates if each) if any(candidates) else 0.0


def _score(words: tuple[str, ...], known: Sequence[str]) -> float:
    if (joined := "_".join(words)) in known:
        return round(1.0 - 0.01 * known.index(joined), 3)
    for place, name in enumerate(known):
        tail = tuple(name.split("_"))
        if len(tail) < len(words) and words[-len(tail) :] == tail and len(tail[0]) > 2:
            return round(0.85 - 0.005 * place, 3)
    # Four letters at least: of shorter ones each is near another.
    near = difflib.get_close_matches(joined, [each for each in known if len(each) >= 4], n=1, cutoff=0.82) if len(joined) >= 4 else []
    return 0.7 if near else 0.0


def topic_score(name: str, role: str) -> float:
    """How surely a topic, or a kind of event, has a role, by its name alone: 0..1.

    Examples
    --------
    >>> topic_score("shop.orders.v1", "orders"), topic_score("OrderPlaced", "orders"), topic_score("clicks", "orders")
    (1.0, 1.0, 0.0)
    """
    words = {_singular(word) for word in tokens(name)}
    return 1.0 if words & set(TOPIC_WORDS[role]) else 0.0


def _singular(word: str) -> str:
    """A word without its plural.

    Examples
    --------
    >>> _singular("deliveries"), _singular("orders"), _singular("dispatches")
    ('delivery', 'order', 'dispatch')
    """
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith("ches") else word[:-1] if word.endswith("s") else word
