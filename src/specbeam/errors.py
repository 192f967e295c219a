"""The one exception that users are meant to read.

Its message says what was expected, what came, and how to mend it; the command line prints it without a traceback.
"""


class SpecbeamError(Exception):
    """A problem that the user can mend: bad config, missing file, wrong checksum, unsupported model."""


def brief(text: str, most: int = 500) -> str:
    """`text`, or of a longer one `most` characters, from its beginning and its end: messages may repeat any input."""
    return text if len(text) <= most else f"{text[: most * 3 // 4]} ... {text[-(most // 4) :]}"
