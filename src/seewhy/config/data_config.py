"""The keys of a configuration on images: where they come from, how they are divided and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from seewhy.config.base import MOST, Section, Share

AUGMENTATIONS = ("crop", "translate", "zoom", "flip", "colour", "trivial", "erase")
# Names for what goes well together.
AUGMENTATION_SETS = {"none": "", "light": "crop+flip", "strong": "zoom+flip+trivial+erase"}
Resize = Literal["crop", "pad", "squash"]
INPUT_SIDES = (32, 1024)  # least and most, pixels


class DataConfig(Section):
    """Where the images come from and how they are divided.

    Attributes
    ----------
    source : str
        ``demo``, ``cifar10.2``, a folder, a table, or an ``.npz`` file.
    test : str, optional
        The test part's ``.npz`` file, table or folder, where the source does not hold it.
    path, label, split, mask : str, optional
        Columns of a table: pictures, their labels, training, validation or test, files of masks;
        default: found by their names and by what they hold.
    weight : str, optional
        A column of a table: how much each image counts in the training loss, a number of at least
        0; default: all count alike, whatever the columns are called.
    root : str, optional
        The folder that relative paths of a table start from; default: the table's own.
    corrections : str, optional
        A table of paths with a corrected label each, or ``drop``.
    group : tuple of str, default ()
        Columns of a table, or one: images with equal values (one patient, one camera) are never
        on two sides of a split or of a fold that is drawn.
    leave_out : str, optional
        A column: all training and validation images of one of its values are held out at a time.
    breakdown : "auto" or tuple of str, default "auto"
        Columns by whose values test results are broken down; ``auto``: all with few values.
    ordered : bool or tuple of str, default False
        Whether the classes are degrees of one thing, in the order in which they are listed; or
        their names from the lowest to the highest.
    validation : float, default 0.1
        Share of the training images held out for validation, stratified.
    held_out : float, default 0.2
        Share of a folder's images held out as test images where it has no ``test/``.
    top_folders : {"auto", "classes", "splits"}, default "auto"
        What the folders in a folder are: splits where their names say so, else classes; classes
        whatever they are called; or splits, with folders in them that are classes.
    max_megapixels : float, default 100
        Larger pictures are set aside before they are decoded.
    white, black : float, optional
        Which values are white and black in pictures of more than 8 bits a value; default: found
        from the values of all pictures, see `seewhy.data.decoding.value_levels`.
    near_duplicates : float, default 0.75
        Correlation of their fine detail from which two images count as near duplicates; 1: only
        exact copies count.
    keep_duplicates_together : bool, default True
        Whether a split that is drawn leaves duplicates, exact and near, on one side.
    folds : int, default 0
        Folds of the training and validation images, each held out once; 0 for none.
    folds_stages : {"adaptation", "both"}, default "adaptation"
        What is repeated on each fold, and with each further seed.
    demo_train, demo_test : int, default 120 and 40
        Pictures per class that the demo draws.
    demo_size : int, default 128
        Side of the demo's pictures, pixels.
    """

    source: str = "demo"
    test: str | None = None
    path: str | None = None
    label: str | None = None
    split: str | None = None
    mask: str | None = None
    weight: str | None = None
    root: str | None = None
    corrections: str | None = None
    group: tuple[str, ...] = ()
    leave_out: str | None = None
    breakdown: Literal["auto"] | tuple[str, ...] = "auto"
    ordered: bool | Annotated[tuple[str, ...], Field(min_length=2)] = False
    validation: Share = 0.1
    held_out: Share = 0.2
    top_folders: Literal["auto", "classes", "splits"] = "auto"
    max_megapixels: Annotated[float, Field(gt=0)] = 100.0
    white: float | None = None
    black: float | None = None
    near_duplicates: Annotated[float, Field(ge=0.5, le=1)] = 0.75
    keep_duplicates_together: bool = True
    folds: Annotated[int, Field(ge=0, le=MOST)] = 0
    folds_stages: Literal["adaptation", "both"] = "adaptation"
    demo_train: Annotated[int, Field(ge=10, le=MOST)] = 120
    demo_test: Annotated[int, Field(ge=4, le=MOST)] = 40
    demo_size: Annotated[int, Field(ge=96, le=512)] = 128

    @field_validator("group", "breakdown", mode="before")
    @classmethod
    def _one_column(cls, value: object) -> object:
        return (value,) if isinstance(value, str) and value != "auto" else value

    @model_validator(mode="after")
    def _folds_or_values(self) -> DataConfig:
        if self.folds and self.leave_out is not None:
            raise ValueError("expected folds or leave_out, but got both")
        return self

    @field_validator("folds")
    @classmethod
    def _more_than_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("expected 0 (no folds) or at least 2, but got 1")
        return value

    @model_validator(mode="after")
    def _white_above_black(self) -> DataConfig:
        if self.white is not None and not self.white > (self.black or 0.0):
            raise ValueError(
                f"expected white above black ({self.black or 0.0:g}), but got {self.white:g}"
            )
        return self


class InputConfig(Section):
    """What a backbone sees.

    Attributes
    ----------
    size : int, or height and width, optional
        Side of the square input, or its height and width, pixels; default: what each backbone's
        weights were trained with.
    resize : {"crop", "pad", "squash"}, default "crop"
        How a picture of other proportions becomes the input: its middle alone, the whole with a
        neutral colour around it, or the whole in the input's proportions.
    augmentation : str, default "light"
        ``none``, ``light`` (crop+flip), ``strong`` (zoom+flip+trivial+erase), or any of crop,
        translate, zoom, flip, colour, trivial, erase joined by ``+``; used in fine-tuning.
    """

    size: int | tuple[int, int] | None = None
    resize: Resize = "crop"
    augmentation: str = "light"

    @field_validator("size", mode="before")
    @classmethod
    def _sides(cls, value: object) -> object:
        """Take one number for a square; a pair that is a square becomes one."""
        if value is None:
            return None
        given = list(value) if isinstance(value, (list, tuple)) else [value, value]
        low, high = INPUT_SIDES
        fits = [isinstance(side, int) and low <= side <= high for side in given]
        if len(given) != 2 or not all(fits):
            raise ValueError(
                f"expected a side of {low} … {high} pixels, or [height, width] of such sides, but "
                f"got {value!r}"
            )
        return given[0] if given[0] == given[1] else tuple(given)

    @field_validator("augmentation")
    @classmethod
    def _known(cls, value: str) -> str:
        known = value in AUGMENTATION_SETS
        if not known and any(name not in AUGMENTATIONS for name in value.split("+")):
            raise ValueError(
                f"expected {', '.join(map(repr, AUGMENTATION_SETS))} or names of "
                f"{', '.join(AUGMENTATIONS)} joined by '+', but got {value!r}"
            )
        return value

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Names of the augmentations, in the order they were given."""
        names = AUGMENTATION_SETS.get(self.augmentation, self.augmentation)
        return tuple(names.split("+")) if names else ()
