"""One training: its loop, its workers, its files, its validation, and the card of the weights it makes."""
