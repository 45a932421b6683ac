"""Formats of the files that Singula writes and reads back, one pydantic model each.

`singula.io.record_files` reads and writes them. A field of the type `Ignorable` is omitted with a
warning if its value is invalid; any other invalid field is an error. Files without a ``format``
have version 1.
"""
