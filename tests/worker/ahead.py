"""A module that knows which process imported it."""

import os

PROCESS = os.getpid()
