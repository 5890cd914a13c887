"""Topics in, topics and the database out, for as long as the process lives. Never decides anything that a stage decides."""

__all__: list[str] = []
