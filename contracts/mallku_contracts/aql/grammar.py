"""The grammar of AQL, LALR(1), in lark's notation; the words come from `lexer`.

Operators are a flat `chain` here: the builder orders them by precedence, which keeps the tables
small and the parser quick. The name after an alternative is the builder's method for it.

Soft keywords (OPTIONS, PRUNE, KEEP, COUNT, TO, SEARCH) are a plain NAME that the builder compares.
"""

from __future__ import annotations

from typing import Final

GRAMMAR: Final = r"""
start: query                                                        -> query
     | WITH with_names query                                        -> query_with

with_names: source_name                                             -> first
          | with_names source_name                                  -> more
          | with_names COMMA source_name                            -> listed

query: steps final                                                  -> more_steps

steps:                                                              -> nothing
     | steps step                                                   -> more_steps

?step: for_step | filter | sort | limit | let | collect | window | modify
?final: return_step | modify

// --- FOR ---

for_step: FOR names IN expression                                   -> for_plain
        | FOR names IN expression NAME expression                   -> for_options
        | FOR names IN expression NAME expression NAME expression   -> for_search
        | FOR names IN steps_taken chain graph tail                 -> traversal
        | FOR names IN steps_taken SHORTEST_PATH chain NAME chain graph options -> shortest_path
        | FOR names IN steps_taken SOME_PATHS chain NAME chain graph options    -> paths
        | FOR names IN steps_taken K_PATHS chain NAME chain graph options       -> paths

names: NAME                                                         -> first
     | names COMMA NAME                                             -> listed

steps_taken: direction                                              -> steps_one
           | chain direction                                        -> steps_many

direction: DIRECTION | ANY

graph: GRAPH NAME                                                   -> graph_named
     | GRAPH QUOTED                                                 -> graph_named
     | GRAPH BIND                                                   -> graph_bound
     | edges                                                        -> graph_edges

edges: edge                                                         -> first
     | edges COMMA edge                                             -> listed

edge: source_name                                                   -> edge
    | direction source_name                                         -> edge_directed

tail:                                                               -> nothing
    | NAME expression                                               -> tail_one
    | NAME NAME ASSIGN expression                                   -> tail_variable
    | NAME expression NAME object                                   -> tail_two
    | NAME NAME ASSIGN expression NAME object                       -> tail_variable_two

source_name: NAME                                                   -> collection
           | CBIND                                                  -> collection_bind
           | BIND                                                   -> plain_collection_bind

// --- the other statements ---

filter: FILTER expression

sort: SORT sort_keys
sort_keys: sort_key                                                 -> first
         | sort_keys COMMA sort_key                                 -> listed
sort_key: expression                                                -> sort_plain
        | expression (ASC | DESC)                                   -> sort_directed
        | expression simple                                         -> sort_valued

limit: LIMIT simple                                                 -> limit_one
     | LIMIT simple COMMA simple                                    -> limit_two

let: LET assignments
assignments: assignment                                             -> first
           | assignments COMMA assignment                           -> listed
assignment: NAME ASSIGN expression

collect: COLLECT WITH NAME INTO NAME options                        -> collect_all_count
       | COLLECT assignments WITH NAME INTO NAME options            -> collect_count
       | COLLECT aggregate into options                             -> collect_all_aggregate
       | COLLECT assignments aggregate into options                 -> collect_aggregate
       | COLLECT assignments into kept                              -> collect_groups

into:                                                               -> nothing
    | INTO NAME                                                     -> into_all
    | INTO NAME ASSIGN expression                                   -> into_value

kept:                                                               -> nothing
    | NAME object                                                   -> kept_options
    | NAME names                                                    -> kept_names
    | NAME names NAME object                                        -> kept_names

aggregate: AGGREGATE aggregates
aggregates: aggregate_one                                           -> first
          | aggregates COMMA aggregate_one                          -> listed
aggregate_one: NAME ASSIGN expression

window: WINDOW object aggregate                                     -> window_rows
      | WINDOW chain WITH object aggregate                          -> window_range

return_step: RETURN expression                                      -> return_all
           | RETURN DISTINCT expression                             -> return_distinct

modify: INSERT chain target options                                 -> insert
      | REMOVE chain target options                                 -> remove
      | (UPDATE | REPLACE) chain target options                     -> change
      | (UPDATE | REPLACE) chain WITH chain target options          -> change_with
      | UPSERT chain INSERT chain (UPDATE | REPLACE) chain target options -> upsert
      | UPSERT FILTER chain INSERT chain (UPDATE | REPLACE) chain target options -> upsert_filter

target: (IN | INTO) NAME                                            -> target_named
      | (IN | INTO) QUOTED                                          -> target_named
      | (IN | INTO) CBIND                                           -> target_bound
      | (IN | INTO) BIND                                            -> target_value

options:                                                            -> nothing
       | NAME object                                                -> options

// --- expressions ---

expression: chain

chain: operand                                                      -> chain_first
     | chain (COMPARISON | OPERATOR | REGEX | LIKE) operand         -> chain_more
     | chain (PLUS_MINUS | STAR | IN | NOT_IN) operand              -> chain_more
     | chain NOT (LIKE | REGEX) operand                             -> chain_not
     | chain quantifier (COMPARISON | IN | NOT_IN) operand          -> chain_quantified
     | chain AT_LEAST LPAR expression RPAR (COMPARISON | IN | NOT_IN) operand -> chain_at_least
     | chain QUESTION expression COLON operand                      -> chain_ternary
     | chain QUESTION COLON operand                                 -> chain_short

quantifier: ANY | ALL_NONE

operand: (PLUS_MINUS | NOT) operand                                 -> unary
       | literal                                                    -> alone
       | reference                                                  -> opened

literal: NUMBER | QUOTED | CONSTANT

simple: literal                                                     -> alone
      | BIND                                                        -> bind

reference: NAME                                                     -> variable
         | BIND                                                     -> bind
         | CBIND                                                    -> collection_bind
         | array                                                    -> alone
         | object                                                   -> alone
         | call                                                     -> alone
         | LPAR expression RPAR                                     -> closed
         | LPAR query RPAR                                          -> subquery
         | reference (DOT | QDOT) NAME                              -> attribute
         | reference (DOT | QDOT) BIND                              -> attribute_bound
         | reference LSQB expression RSQB                           -> index
         | reference QDOT LSQB expression RSQB                      -> index_optional
         | reference LSQB stars inline_filter inline_limit inline_return RSQB -> expansion
         | reference LSQB QUESTION match RSQB                       -> array_match

stars: STAR                                                         -> star
     | stars STAR                                                   -> stars

inline_filter:                                                      -> nothing
             | FILTER expression                                    -> inline
inline_limit:                                                       -> nothing
            | LIMIT expression                                      -> inline
            | LIMIT expression COMMA expression                     -> inline_limit
inline_return:                                                      -> nothing
             | RETURN expression                                    -> inline

match:                                                              -> nothing
     | FILTER expression                                            -> match_any
     | quantifier FILTER expression                                 -> match_quantified
     | AT_LEAST LPAR expression RPAR FILTER expression              -> match_at_least
     | expression FILTER expression                                 -> match_counted

array: LSQB RSQB                                                    -> array_empty
     | LSQB items RSQB                                              -> array
     | LSQB items COMMA RSQB                                        -> array
items: expression                                                   -> first
     | items COMMA expression                                       -> listed

object: LBRACE RBRACE                                               -> object_empty
      | LBRACE members RBRACE                                       -> object
      | LBRACE members COMMA RBRACE                                 -> object
members: member                                                     -> first
       | members COMMA member                                       -> listed
member: NAME                                                        -> member_short
      | (NAME | QUOTED) COLON expression                            -> member_named
      | BIND COLON expression                                       -> member_bound
      | LSQB expression RSQB COLON expression                       -> member_computed

call: function LPAR RPAR                                            -> call_empty
    | function LPAR arguments RPAR                                  -> call
function: NAME                                                      -> function
        | LIKE                                                      -> function
        | function SCOPE NAME                                       -> function_scoped
arguments: argument                                                 -> first
         | arguments COMMA argument                                 -> listed
argument: expression                                                -> alone
        | query                                                     -> argument_query

%declare FOR LET FILTER RETURN COLLECT SORT LIMIT WINDOW ASC DESC IN WITH INTO AGGREGATE GRAPH
%declare SHORTEST_PATH K_PATHS SOME_PATHS DISTINCT REMOVE INSERT UPDATE REPLACE UPSERT LIKE ANY
%declare ALL_NONE DIRECTION NOT NOT_IN AT_LEAST CONSTANT NUMBER QUOTED NAME BIND CBIND
%declare COMPARISON OPERATOR REGEX PLUS_MINUS STAR LPAR RPAR LSQB RSQB LBRACE RBRACE
%declare COMMA DOT QDOT QUESTION COLON SCOPE ASSIGN
"""
