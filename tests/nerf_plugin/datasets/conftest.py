"""Makes the captures of this folder importable under importlib mode."""

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("captures", Path(__file__).with_name("captures.py"))
captures = importlib.util.module_from_spec(_spec)
sys.modules["captures"] = captures
_spec.loader.exec_module(captures)
