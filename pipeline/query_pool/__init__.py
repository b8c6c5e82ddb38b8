"""The pool of replicas that ask an API: it reserves money before it sends, logs answers before they count, and gives
results in the order of the requests.

Nothing is drawn twice to save time: an answer is paid for. May be imported by drawing. What is decided about one query
is in `actors/queries`; the log, budget and labels are in `pipeline/queries`.
"""
