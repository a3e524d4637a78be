"""The one exception that means "the user can fix this"."""


class UserError(Exception):
    """What was wrong, where, and what to do; the CLI prints it as one line and exits with 2."""
