"""Spreadsheets and printable tables: read and written by a child process, for their libraries are slow, hungry and fed by strangers.

``converter`` is the daemon's side. The rest is the child's (``python -m netd.sheets``): it has no secret of the daemon's, no connection, limits on
memory and time of its own, and ends with its one file. Between the two run lines of JSON.
"""
