"""Episodes as a LeRobotDataset v3.0: Parquet and JSON files that `lerobot.datasets.LeRobotDataset` reads.

Written from the description of the format, https://huggingface.co/docs/lerobot/lerobot-dataset-v3, so that LeRobot need
not be installed; tests read it back with LeRobot's own loader. Images are PNG inside the Parquet files: each pixel is
as the policy saw it.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlatency.experiments.shared.files import replacing, write_text
from vlatency.sim.errors import UsageError

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
PATH = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
SAMPLED_IMAGES = 20
"""Images of an episode that go into the statistics, as many at most."""
CLOCK = ("sim_time", "capture_time", "feature_age", "latency")
"""What each frame says of time, in seconds; `ClockColumns`."""


@dataclass(frozen=True, eq=False)
class RecordedEpisode:
    """What one episode leaves behind, one frame a control tick.

    Attributes:
        images: PNG files by camera, one a frame.
        state: (frames, numbers) float32.
        action: (frames, numbers) float32, in force at the frame.
        tasks: the instruction at each frame.
        clock: (frames, 4) float32, the columns of `CLOCK` [s]: simulated time of the frame; when the images behind its
            action were exposed; age of the newest finished features; from that exposure until the action took effect.
        success: whether the episode succeeded.
        about: where it comes from: mode, seed and trajectory hash.
    """

    images: Mapping[str, Sequence[bytes]]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    tasks: Sequence[str]
    clock: NDArray[np.float32]
    success: bool
    about: Mapping[str, Any]


def png(image: NDArray[np.uint8]) -> bytes:
    """An image (H, W, 3) as a PNG file."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()


def pixels(file: bytes) -> NDArray[np.uint8]:
    """The image (H, W, 3) in a PNG file."""
    return np.asarray(Image.open(io.BytesIO(file)))


@dataclass
class _Moments:
    """Least, greatest, mean and deviation of what was added, one a column."""

    count: int = 0
    total: Any = 0.0
    squares: Any = 0.0
    least: Any = np.inf
    most: Any = -np.inf

    def add(self, values: NDArray[Any]) -> None:
        """Add values (n, columns)."""
        values = values.astype(np.float64)
        self.count += len(values)
        self.total, self.squares = self.total + values.sum(0), self.squares + (values**2).sum(0)
        self.least, self.most = np.minimum(self.least, values.min(0)), np.maximum(self.most, values.max(0))

    def as_json(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """As stats.json spells them."""
        mean = self.total / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        values = {"min": self.least, "max": self.most, "mean": mean, "std": deviation}
        return {name: value.reshape(shape).tolist() for name, value in values.items()} | {"count": [self.count]}


@dataclass
class DatasetWriter:
    """A dataset that grows by one file an episode.

    Args:
        folder: new or empty.
        fps: frames a second.
        frames: how many it has so far.

    Raises:
        UsageError: pandas has nothing to write Parquet files with.
    """

    folder: Path
    fps: int
    frames: int = 0
    _episodes: list[dict[str, Any]] = field(default_factory=list)
    _tasks: dict[str, int] = field(default_factory=dict)
    _features: dict[str, dict[str, Any]] = field(default_factory=dict)
    _moments: dict[str, _Moments] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise UsageError("a LeRobot dataset needs pyarrow: pip install pyarrow") from None

    @property
    def episodes(self) -> int:
        """How many it has so far."""
        return len(self._episodes)

    def add(self, episode: RecordedEpisode) -> None:
        """Write one episode, unless it has no frame. All must have the same cameras, image size, and numbers."""
        number, count = self.episodes, len(episode.action)
        if not count:
            return
        last = np.arange(count) == count - 1
        columns: dict[str, NDArray[Any]] = {
            "observation.state": episode.state,
            "action": episode.action,
            **{name: episode.clock[:, place] for place, name in enumerate(CLOCK)},
            "next.done": last,
            "next.success": last & episode.success,
            "timestamp": (np.arange(count) / self.fps).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, number),
            "index": self.frames + np.arange(count),
            "task_index": np.array([self._tasks.setdefault(task, len(self._tasks)) for task in episode.tasks]),
        }
        for name, values in columns.items():
            self._describe(name, values)
        for camera, files in episode.images.items():
            self._describe_images(f"observation.images.{camera}", files)
        images = {
            f"observation.images.{camera}": [{"bytes": file, "path": None} for file in files]
            for camera, files in episode.images.items()
        }
        numbers = {name: list(values) for name, values in columns.items()}
        self._write_table(self._place("data", number), images | numbers)
        self._episodes.append(
            {
                "episode_index": number,
                "tasks": list(dict.fromkeys(episode.tasks)),
                "length": count,
                "dataset_from_index": self.frames,
                "dataset_to_index": self.frames + count,
                "data/chunk_index": number // FILES_PER_CHUNK,
                "data/file_index": number % FILES_PER_CHUNK,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                **episode.about,
            }
        )
        self.frames += count

    def close(self, about: Mapping[str, Any]) -> None:
        """Write what describes the whole; before that nothing can read the dataset.

        Args:
            about: where it comes from; goes to meta/vlatency.json.
        """
        import pandas

        if not self._episodes:
            raise UsageError("no episode has a control tick at which an action was in force: there is nothing to write")
        facts = {name: [episode[name] for episode in self._episodes] for name in self._episodes[0]}
        self._write_table(self._place("meta/episodes", 0), facts)
        index = pandas.Index(list(self._tasks), name="task")
        with replacing(self.folder / "meta/tasks.parquet") as file:
            pandas.DataFrame({"task_index": list(self._tasks.values())}, index=index).to_parquet(file)
        shapes = {
            name: (3, 1, 1) if feature["dtype"] == "image" else tuple(feature["shape"])
            for name, feature in self._features.items()
        }
        stats = {name: moments.as_json(shapes[name]) for name, moments in self._moments.items()}
        info = {
            "codebase_version": VERSION,
            "robot_type": "vlatency",
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": f"data/{PATH}",
            "video_path": None,
            "features": self._features,
        }
        for name, content in {"vlatency": dict(about), "stats": stats, "info": info}.items():
            write_text(self.folder / f"meta/{name}.json", json.dumps(content, indent=2) + "\n")

    def _describe(self, name: str, values: NDArray[Any]) -> None:
        wide = values if values.ndim == 2 else values[:, None]
        self._features[name] = {"dtype": str(values.dtype), "shape": [wide.shape[1]], "names": None}
        self._moments.setdefault(name, _Moments()).add(wide)

    def _describe_images(self, name: str, files: Sequence[bytes]) -> None:
        chosen = [pixels(files[at]) for at in range(0, len(files), -(-len(files) // SAMPLED_IMAGES))]
        self._features[name] = {
            "dtype": "image",
            "shape": list(chosen[0].shape),
            "names": ["height", "width", "channels"],
        }
        self._moments.setdefault(name, _Moments()).add(np.concatenate([each.reshape(-1, 3) for each in chosen]) / 255)

    def _place(self, room: str, number: int) -> Path:
        place = PATH.format(chunk_index=number // FILES_PER_CHUNK, file_index=number % FILES_PER_CHUNK)
        return self.folder / room / place

    @staticmethod
    def _write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
        import pyarrow
        import pyarrow.parquet

        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            pyarrow.parquet.write_table(pyarrow.table(dict(columns)), file)
