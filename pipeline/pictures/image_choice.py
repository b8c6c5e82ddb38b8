"""Which image a person means: by its number in the data set, or by its file."""

from difflib import get_close_matches

import pandas as pd

from raysmooth.common.errors import RaysmoothError, named_image, printable, stored_text

_MOST_COMPARED = 5000
"""Names that are compared with one that no image has."""

_MOST_LISTED = 3


def image_id_of(rows: pd.DataFrame, image: int | str) -> int:
    """The number of the `image` in certificate rows: itself, or that of the image with this file. The file may be given
    with the folders above the data root, or by its last parts if no other image has these. Raises RaysmoothError for a
    file that no image has, or several.
    """
    if isinstance(image, int) or (image.isascii() and image.isdecimal() and len(image) <= 15):
        return int(image)
    if "file" not in rows or not rows["file"].notna().any():
        raise RaysmoothError(
            f"{printable(image)}: these runs know no names of files (rows of earlier versions, imported logs, and data "
            "sets without files have none): write the image's number"
        )
    known = rows[["file", "image_id"]].dropna().drop_duplicates()
    found = _matching(known, stored_text(image).removeprefix("./"))
    ids = found["image_id"].unique()
    if len(ids) == 0:
        names = list(dict.fromkeys(known["file"]))[:_MOST_COMPARED]
        near = get_close_matches(image, names, n=_MOST_LISTED, cutoff=0.3) or names[:_MOST_LISTED]
        listed = ", ".join(map(printable, near))
        raise RaysmoothError(f"no image of these runs has the file {printable(image)}: there are {listed}, for example")
    if len(ids) > 1:
        several = [named_image(number, file) for file, number in found.to_numpy().tolist()]
        more = f" and {len(several) - _MOST_LISTED} more" if len(several) > _MOST_LISTED else ""
        raise RaysmoothError(
            f"{printable(image)} may be {' or '.join(several[:_MOST_LISTED])}{more}: write the number, or more of the "
            "path"
        )
    return int(ids[0])


def _matching(known: pd.DataFrame, text: str) -> pd.DataFrame:
    files = known["file"]
    if len(exact := known[files == text]):
        return exact
    if len(inside := known[files.str.endswith(f"/{text}")]):
        return inside
    below = known[[text.endswith(f"/{file}") for file in files]]
    return below[below["file"].str.len() == below["file"].str.len().max()]
