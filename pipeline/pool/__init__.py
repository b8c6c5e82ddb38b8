"""The pool of Ray actors: start, dispatch, replace, scale.

It draws work units and knows nothing of images' certificates or files. Another actor class implements `DrawsUnits`.
"""
