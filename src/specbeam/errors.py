"""The one exception that users are meant to read.

Its message says what was expected, what came, and how to mend it; the command line prints it without a traceback.
"""


class SpecbeamError(Exception):
    """A problem that the user can mend: bad config, missing file, wrong checksum, unsupported model."""
