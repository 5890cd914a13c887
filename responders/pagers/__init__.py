"""A page in, told to a person out; one module a kind. Never decides whom to tell."""
