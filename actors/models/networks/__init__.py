"""The networks that come with raysmooth, a family a module; the tables of the rooms above name them."""
