"""The one exception that means "the person at the keyboard can mend this"."""


class UserError(Exception):
    """What was wrong, where, and what to do; the CLI prints it as one line and exits with 2."""
