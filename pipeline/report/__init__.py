"""Tables, figures and the HTML page. Depends on `analysis`, `storage` and `common` alone.

A new table is an entry of `TABLES` in `tables.catalogue`, a new format of tables one of `FORMATS` in `tables.formats`,
a new figure one of `FIGURES` in `report`, a new width of figures one of `WIDTHS` in `figures.figure_text`.
"""
