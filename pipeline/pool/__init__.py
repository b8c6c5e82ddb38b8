"""The pool of Ray actors: start, dispatch, replace, scale."""
