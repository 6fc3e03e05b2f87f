"""`closedwon features`: every training snapshot, without labels, as one Parquet file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from features.config import Config
from features.loading.flat import load_flat
from features.outputs import written_aside
from features.parts.partitions import load_partitions
from features.parts.time_order import write_in_time_order
from training.examples import examples_from_flat
from training.part_examples import LABELS, catalogue_of_parts, label_index, snapshot_parts
from training.steps import Steps


@dataclass(frozen=True)
class SnapshotFile:
    """What was written, and how much of it was found ready from an earlier run."""

    rows: int
    features: int
    parts: int
    parts_reused: int


def write_snapshots(
    config: Config, folder: Path, local: Path, output: Path, steps: Steps
) -> SnapshotFile:
    """Write the snapshots a model is trained on, none thinned out, sorted by as_of then lead_id.

    The rows of a flat export keep its order where it has no dates. The file is the same to the byte
    however the data are split into parts; finished parts are kept in `local`.
    """
    with steps("load"):
        if config.flat is not None:
            examples = examples_from_flat(load_flat(config, folder), config)
        else:
            partitions = load_partitions(config, folder, local).partitions
    if config.flat is not None:
        with steps("write"), written_aside(output) as aside:
            examples.snapshots.to_parquet(aside, index=False)
        return SnapshotFile(len(examples.snapshots), len(examples.catalogue.names), 1, 0)
    with steps("snapshots"):
        catalogue = catalogue_of_parts(partitions, config)
        parts = snapshot_parts(label_index(partitions, config), config, catalogue, share=1)
    with steps("write"), written_aside(output) as aside:
        batches = [map(_without_labels, parts.batches(n)) for n in range(len(partitions))]
        rows = write_in_time_order(batches, aside)
    return SnapshotFile(rows, len(catalogue.names), len(partitions), parts.reused)


def _without_labels(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(LABELS)
