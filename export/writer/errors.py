"""Errors of an export, in one line each."""


class ExportError(Exception):
    """The export was refused or its check failed; nothing was left behind."""
