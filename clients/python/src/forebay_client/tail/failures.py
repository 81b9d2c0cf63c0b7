"""What ends `forebay tail`: one line that says what is wrong and what to do."""


class TailError(Exception):
    """Shown without a traceback; the exit code is 1."""
