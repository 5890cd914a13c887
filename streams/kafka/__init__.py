"""Kafka at the edge of the house: clients, topics, and the shell that drives a stage. Never knows what a stage concludes."""

__all__: list[str] = []
