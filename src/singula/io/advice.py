"""Remedies for each command that reads files: configuration keys or options."""

from __future__ import annotations

from dataclasses import dataclass

INSIDE_KEYS = "INPUT_ZARR_MULTIPLE_DATA_RAW_PATH (labels: …_GT_PATH)"
AXES_KEYS = "INPUT_IMG_AXES_ORDER (labels: INPUT_MASK_AXES_ORDER)"
_SECTIONS = "DATA.TRAIN, DATA.VAL or TEST.BY_CHUNKS of a configuration"


@dataclass(frozen=True)
class Advice:
    """Remedies of one command for files that it cannot read without a choice of the user.

    Parameters
    ----------
    array : str
        Remedy for several arrays in a container.
    missing_array : str
        Remedy for an array that does not exist.
    axes : str
        Remedy for missing or wrong axes of an array in a container.
    axes_source : str
        Key or option that overrides the axes in the file.
    axes_count : str
        Remedy for more or fewer axes than the array has.
    voxel_size : str
        Remedy for a missing voxel size.
    series : str
        Remedy for several images in a file.
    frames : str
        Remedy for several time points in a file.
    frame : str
        Remedy for a time point that does not exist.
    channel : str
        Remedy for several channels, or for a channel that does not exist.
    external_files : str
        Remedy for a file that refers to other files.
    """

    array: str
    missing_array: str
    axes: str
    axes_source: str
    axes_count: str
    voxel_size: str
    series: str
    frames: str
    frame: str
    channel: str
    external_files: str


_ADVICE = {
    "run": Advice(
        array=f"name the array with {INSIDE_KEYS} in {_SECTIONS}",
        missing_array=f"correct {INSIDE_KEYS}, or leave it empty where the file holds one array",
        axes=f"set the axes with {AXES_KEYS} in {_SECTIONS}, for example 'ZYXC'",
        axes_source=AXES_KEYS,
        axes_count="give a letter of T, Z, C, Y, X for each axis of the array",
        voxel_size="set DATA.*.RESOLUTION (in predict and export --spacing)",
        series="save each image as a file of its own",
        frames="give one file per time point",
        frame="save each time point as a file of its own",
        channel="choose one with DATA.CHANNEL (in check and init with --channel): its name, or its "
        "number from 0",
        external_files="copy the data into the file; or, if you trust its author, set "
        "DATA.EXTERNAL_FILES: True (in check, init and export give --external-files)",
    ),
    "predict": Advice(
        array="choose one with --array PATH",
        missing_array="give the path of an array with --array PATH",
        axes="write the names of the axes into the file: as dimension labels in HDF5, or as axes "
        "in Zarr and N5",
        axes_source="the configuration of the model",
        axes_count="choose an array of that many axes with --array PATH",
        voxel_size="give it with --spacing",
        series="choose one with --series N, where 0 is the first; or omit it to predict all",
        frames="give --frames all for one result per time point, or --frames N for one of them, "
        "where 0 is the first",
        frame="give --frames N with a smaller N, where 0 is the first; or --frames all",
        channel="choose one with --channel NAME, or --channel N, where 0 is the first",
        external_files="copy the data into the file; or, if you trust its author, give "
        "--external-files",
    ),
}


def advice_for(command: str) -> Advice:
    """Return the remedies for a command: ``run`` (configuration keys) or ``predict`` (options)."""
    return _ADVICE[command]
