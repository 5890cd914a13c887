"""A step of a plan in, carried out by whatever runs the service; one module a kind. Never decides what to do."""
