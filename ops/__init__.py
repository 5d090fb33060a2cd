"""Set-up and operation, with nothing but the standard library of Python 3.9 or newer."""
