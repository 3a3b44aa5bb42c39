"""Finds where a code base still goes to the database by itself, and says what to write instead.

`rules` says what is looked for, `python_source` and `text_source` look for it in one file's text,
`files` walks a tree. Nothing of what is checked is imported or run.
"""
