"""Drawing a run: the driver feeds the pool its units, and ledgers turn their counts into rows.

What is known of a run before anything is drawn is in `pipeline.runs`. A way of drawing is a ledger.
"""
