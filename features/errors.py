"""The one exception for a user's mistake."""


class InputError(Exception):
    """A mistake in the user's data, configuration or command: exit code 2, no traceback.

    The message says what is wrong, what was found, what is allowed and what to do next. It names
    at most three offenders and never prints a person's data.
    """
