"""Errors that a user can fix; the entry points print their message in one line, without a traceback."""


class UserError(Exception):
    """Invalid input; the message names the file or key, the value received and the values allowed."""


class OptionError(UserError):
    """An option file cannot be used."""


class ImageError(UserError):
    """An image cannot be read, or does not match its counterpart or the kernel."""


class KernelError(UserError):
    """A kernel file cannot be used."""


class DivergenceError(UserError):
    """An optimisation produced values that are not finite."""
