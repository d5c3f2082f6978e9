"""The one kind of failure that the lab reports."""


class LabError(Exception):
    """One sentence that says what is wrong and what to do about it."""
