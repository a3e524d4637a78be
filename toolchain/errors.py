"""The one exception that means "the person at the keyboard can mend this"."""


class UserError(Exception):
    """A user's mistake: what was wrong, where, and what to do. The CLI prints it as one line and exits with 2."""
