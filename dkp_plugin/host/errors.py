"""Errors that a user can mend; the entry points print their one line and no traceback."""


class UserError(Exception):
    """Something outside the code is wrong; the message names it, the value received and the values allowed."""


class OptionError(UserError):
    """An option file cannot be used."""


class ImageError(UserError):
    """An image cannot be read, or does not fit its partner or the kernel."""


class KernelError(UserError):
    """A kernel file cannot be used."""


class DivergenceError(UserError):
    """An optimisation ended in numbers that are not finite."""
