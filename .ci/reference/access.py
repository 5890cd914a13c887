"""The page of topics: each with who has to be allowed what, as `rollguard topics acls` prints it."""

from __future__ import annotations

from rollguard.config import default_text, format_duration, load
from rollguard.streams.kafka import Role, commands_of, grants, group_of, own_topics

__all__ = ["page"]

ROLES: dict[Role, tuple[str, str, str]] = {
    "worker": ("User:rollguard", "The worker", "`rollguard worker`, with all its parts, and `rollguard check --live`:"),
    "creator": (
        "User:admin",
        "Who creates topics",
        "`rollguard topics create`, once; without `--sources`, which is for trying out and needs CREATE on those topics too:",
    ),
    "person": ("User:dana", "Persons", "`rollguard kill`, `mute`, `allow` and `incidents ack` to `resolve`, on whichever machine they are typed:"),
    "replay": ("User:analyst", "Who replays topics", "`rollguard replay --from --to`, which joins no group and writes nothing:"),
}
_HOLDS = {
    "blocks": ("what ingest counted, and how far each partition has come", "the worker (ingest)", "the worker (detect, ingest)"),
    "signals": ("the one log that all decisions follow from: signals, changes, commands, ticks", "the worker (detect, changes, respond)", "the worker (desk)"),
    "commands": ("what persons say, signed", "persons", "the worker (changes)"),
    "deadletter": ("what was refused, with the reason and its place", "the worker (ingest, changes)", "you, when something is refused"),
}


def page() -> str:
    """The page, in Markdown."""
    settings = load(default_text(), name="default.yaml")
    kafka = settings.kafka
    lines = [
        "# Topics and ACLs",
        "",
        "Names as the shipped defaults have them: `kafka.prefix` and `kafka.group` begin the names of what is ours, `sources` and `changes` name what is yours. For your own",
        "config `rollguard topics acls -c FILE` prints the same, and `rollguard topics list -c FILE` says which topics are not as they should be.",
        "",
        "## Our own topics",
        "",
        "`rollguard topics create` makes them. Each has one partition; of `blocks` and `signals` it has to be one.",
        "",
        "| topic | holds | written by | read by | kept for | other settings |",
        "|---|---|---|---|---|---|",
    ]
    for topic in own_topics(kafka):
        holds, writer, reader = _HOLDS[topic.name.removeprefix(f"{kafka.prefix}.")]
        kept = format_duration(int(topic.configs["retention.ms"]))
        others = "; ".join(f"`{key}={value}`" for key, value in sorted(topic.configs.items()) if key != "retention.ms")
        lines.append(f"| `{topic.name}` | {holds} | {writer} | {reader} | {kept} | {others} |")
    stages = ", ".join(f"`{group_of(kafka, stage)}`" for stage in ("ingest", "detect", "desk", "changes"))
    lines += [
        "",
        f"Consumer groups: {stages}. No transactional id is used: ids made from content make a repeat harmless. Producers are idempotent, for which WRITE on a topic is enough",
        "from Kafka 2.8 on; before that, allow `IdempotentWrite` on the cluster, too.",
        "",
        "## Who has to be allowed what",
        "",
        "A test creates exactly these permissions on a real broker, holds that with each one less something is refused, and runs a worker with them. `Read` and `Write` bring",
        "`Describe` with them. Whoever writes your events and changes (your shop, your pipeline) needs `Write` on those topics and nothing here.",
        "",
    ]
    for role, (principal, title, words) in ROLES.items():
        granted = grants(settings, role)
        lines += [f"### {title}", "", words, "", "| resource | name | operations | why |", "|---|---|---|---|"]
        for each in granted:
            name = f"`{each.name}`" + (" and all that begin so" if each.prefixed else "")
            lines.append(f"| {each.resource} | {name} | {', '.join(each.operations)} | {each.why} |")
        lines += ["", "```text", *commands_of(granted, principal=principal, bootstrap=kafka.bootstrap_servers[0]), "```", ""]
    return "\n".join(lines)
