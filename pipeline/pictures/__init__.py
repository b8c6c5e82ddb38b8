"""Pictures of images: as certified (`show`), as denoised (`gallery`)."""
