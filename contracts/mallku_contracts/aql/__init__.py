"""The query language AQL: its grammar, its tree, and what can be said of a query without data.

::

    tree        the nodes, and what each of them means
    parsing     text -> tree, with ArangoDB's precedence and error numbers
    printing    tree -> text, so that parsing it gives the same tree
    analysis    collections, bind parameters and functions that a query names
    allow       which nodes and functions a role may use

Nothing here reads a document or evaluates anything. Importing this package imports no parser.
"""
