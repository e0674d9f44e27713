"""One module a peer: `missing()` says why it cannot run (or None), `version()` names it, and a function a case does the
work.

A case's function gets the case's parameters as keywords and returns (figures, digest of the result). Everything that
costs time is imported inside the function, so that the start of a peer is measured where it belongs.
"""
