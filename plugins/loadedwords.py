"""Importing this loads the kernels of `words` from disk, which takes some 0.4 s; the local engine does it once for all
its task processes (`FastWordCount.preload`). Where nothing is on disk nothing is compiled: that is for tasks, which may
take their time."""

from pathlib import Path

import numpy as np

from . import words

if any(Path(words._count.stats.cache_path).glob("words._count-*.nbi")):
    _text = np.frombuffer(b"to be or not to be", np.uint8)
    words.merge([some for _, some in words.cut(_text, words.count(_text), 1)])
