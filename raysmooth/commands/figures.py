"""show and gallery: images as they were certified, and as denoisers see them."""

from typing import TYPE_CHECKING, Annotated

import typer

from raysmooth.commands.app import app, notes
from raysmooth.commands.flags import settings_command

if TYPE_CHECKING:
    from raysmooth.pipeline.pictures.gallery_settings import GallerySettings


@app.command("show", rich_help_panel="Results")
def show_command(
    out: Annotated[str, typer.Argument(help="Folder of results (--out of certify).")],
    image_id: Annotated[int, typer.Argument(help="The image, by its number in the data set.")],
    run: Annotated[
        str | None, typer.Option(help="Only this run: its id, or how that begins. Default: all that have the image.")
    ] = None,
    copies: Annotated[int | None, typer.Option(help="Noisy copies, 1 to 6. Default: 3.", show_default=False)] = None,
    data_root: Annotated[str | None, typer.Option(help="Where the data set is now, if it has moved.")] = None,
    classifier_weights: Annotated[str | None, typer.Option(help="Where the classifier's weights are now.")] = None,
    denoiser_weights: Annotated[str | None, typer.Option(help="Where the denoiser's weights are now.")] = None,
    to: Annotated[
        str | None, typer.Option(help="File of the figure, .png or .pdf. Default: OUT/report/image-ID.png.")
    ] = None,
) -> None:
    """Show one image as it was certified: noisy and denoised copies that the run drew, its counts, its certificate.

    **Example**

    `raysmooth show results 20`
    """
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.pictures.show import ShowSettings
    from raysmooth.pipeline.pictures.show import show as show_job

    given = {"out": out, "image_id": image_id, "run": run, "copies": copies, "data_root": data_root, "to": to}
    given |= {"classifier_weights": classifier_weights, "denoiser_weights": denoiser_weights}
    settings = checked(ShowSettings, {name: value for name, value in given.items() if value is not None})
    file, lines = show_job(settings)
    for line in lines:
        print(line)
    notes.print(f"written: {file}")


@settings_command(app, "gallery", "raysmooth.pipeline.pictures.gallery_settings:GallerySettings", panel="Results")
def gallery_command(settings: "GallerySettings") -> None:
    """Draw images clean, noisy and denoised by one denoiser or several, beside each other.

    **Example**

    `raysmooth gallery --dataset cifar10 --data-root data --images 0,20,40 --sigma 0.25,0.5 --denoiser-weights
    "mse-{sigma}.safetensors,stab-{sigma}.safetensors"`
    """
    from raysmooth.pipeline.pictures.gallery import gallery as gallery_job

    notes.print(f"written: {gallery_job(settings)}")
