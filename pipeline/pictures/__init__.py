"""Pictures of images: as certified (`show`), as denoised (`gallery`).

Commands, the Python API and experiments import it. The first noisy copies of an image are drawn again here,
without Ray. A new picture is a module with its settings and a function that returns the figure's file.
"""
