"""show and gallery: images as certified, and as denoised."""

from typing import TYPE_CHECKING, Annotated

import typer

from raysmooth.commands.app import app, notes, say_loading
from raysmooth.commands.flags import RESULTS, TRUST_CODE, renamed, settings_command
from raysmooth.commands.usage import CommandWithExamples

if TYPE_CHECKING:
    from raysmooth.pipeline.pictures.gallery_settings import GallerySettings


@app.command("show", cls=CommandWithExamples, rich_help_panel="Results")
def show_command(
    results: Annotated[str, RESULTS],
    image_id: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="Number of the image in the data set, or its file, as in cat/7.png."),
    ],
    run: Annotated[
        str | None,
        typer.Option(help="Only this run: its id, or its first characters. Default: all with the image."),
    ] = None,
    copies: Annotated[
        int | None, typer.Option(help="Number of noisy copies, 1 to 6. Default: 3.", show_default=False)
    ] = None,
    data_root: Annotated[str | None, typer.Option(help="New location of the data set, if it has moved.")] = None,
    classifier_weights: Annotated[str | None, typer.Option(help="New location of the classifier's weights.")] = None,
    denoiser_weights: Annotated[str | None, typer.Option(help="New location of the denoiser's weights.")] = None,
    rejector_weights: Annotated[str | None, typer.Option(help="New location of the rejector's weights.")] = None,
    classifier: Annotated[
        str | None,
        typer.Option(help="The run's classifier, if it is your own (MODULE:CALLABLE): naming it allows its import."),
    ] = None,
    trust_code: Annotated[bool, TRUST_CODE] = False,
    out: Annotated[
        str | None, typer.Option(help="File for the figure, .png or .pdf. Default: RESULTS/report/image-ID.png.")
    ] = None,
    to: Annotated[str | None, renamed("--to", "--out")] = None,
) -> None:
    """Show one image as certified: noisy copies that the run drew, their denoised versions, its counts and certificate.

    **Examples**

    `raysmooth show results 20`

    `raysmooth show results photos/cat/7.png`
    """
    say_loading("pandas", "reading rows")
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.pictures.show import ShowSettings
    from raysmooth.pipeline.pictures.show import show as plot_image

    given = {"results": results, "image_id": image_id, "run": run, "copies": copies, "data_root": data_root}
    given |= {"out": out, "classifier_weights": classifier_weights, "denoiser_weights": denoiser_weights}
    given |= {"rejector_weights": rejector_weights, "classifier": classifier, "trust_code": trust_code or None}
    settings = checked(ShowSettings, {name: value for name, value in given.items() if value is not None})
    file = plot_image(settings, lambda: say_loading("torch", "reading the run's image and weights"))
    for line in file.lines:
        print(line)
    notes.print(f"written: {file}")


@settings_command(app, "gallery", "raysmooth.pipeline.pictures.gallery_settings:GallerySettings", panel="Results")
def gallery_command(settings: "GallerySettings") -> None:
    """Plot images clean, noisy and denoised by one denoiser or several, side by side.

    **Example**

    `raysmooth gallery --dataset cifar10 --data-root data --images 0,20,40 --sigma 0.25,0.5 --denoiser-weights
    "mse-{sigma}.safetensors,stab-{sigma}.safetensors"`
    """
    say_loading("torch", "reading images and weights")
    from raysmooth.pipeline.pictures.gallery import gallery as plot_gallery

    notes.print(f"written: {plot_gallery(settings, notes.print)}")
