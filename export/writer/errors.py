"""What a person who exports a model can have done wrong, told in one line."""


class ExportError(Exception):
    """The export was refused or its check failed; nothing was left behind."""
