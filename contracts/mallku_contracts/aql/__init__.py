"""The query language AQL: its grammar, its tree, and what can be said of a query without data.

::

    tree        the nodes, and what each of them means; visitor walks them
    parsing     text -> tree, with ArangoDB's precedence, scopes and error numbers
    binding     what the bind values decide before anything runs
    printing    tree -> text, so that parsing it gives the same tree
    analysis    collections, bind parameters and functions that a query names
    allow       which nodes, functions and options a role may use
    functions   what functions the language has

Below `parsing`: lexer -> machine (grammar and its build_* actions, chain and precedence) -> resolve
(scopes, checks). Nothing here reads a document or evaluates anything, and importing this package
imports no parser.
"""
