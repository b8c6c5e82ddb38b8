"""Tables, figures and the HTML page. Depends on `analysis`, `storage` and `common` alone.

A new table is an entry of `TABLES` in `tables.catalogue`; a new figure is an entry of `FIGURES` in `report`.
"""
