"""The files of a run, on disk or in a bucket: manifest, counts, certificates, progress record, lock.

`manifest` knows where they are. A new kind of rows is another folder of parts, named by its procedure.
"""
