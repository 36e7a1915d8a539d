"""What images are made of on this machine: chains of layers, each a folder (containers) or a disk (QEMU).

A captured image is the layer that its instance wrote, over those that the instance came from. Images and instances
only name layers, so a copy costs nothing, and a layer goes when nobody names it any more.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from generator.errors import MultieipError

# Layers of an image, the uppermost first.
Layers = tuple[Path, ...]


@dataclass
class ImageStore:
    """The images below `folder`. `instances` is the folder of the instances, which name layers too."""

    folder: Path
    instances: Path
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _in_work: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path in (self._images, self.layers_folder, self.instances):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def _images(self) -> Path:
        return self.folder / "images"

    @property
    def layers_folder(self) -> Path:
        """Where captured layers are."""
        return self.folder / "layers"

    def find(self, image: str) -> Layers | None:
        """Return the layers of an image, None for an image that is a name only."""
        return _read(self._images / f"{image}.json")

    def add(self, image: str, layers: Sequence[Path]) -> None:
        """Say what an image is made of."""
        with self._lock:
            _write(self._images / f"{image}.json", layers)

    @contextmanager
    def capture(self, image: str, below: Layers) -> Iterator[Path]:
        """Give a path to make a layer at (or `PATH.suffix` beside it), and say then that it is the image's."""
        target = self.layers_folder / image
        with self._lock:
            self._in_work.add(image)
        try:
            yield target
            made = [path for path in self.layers_folder.glob(f"{image}*") if path.stem == image]
            self.add(image, (*made, *below))
        finally:
            with self._lock:
                self._in_work.discard(image)
                self.sweep()

    def copy(self, source: str, image: str) -> None:
        """Have an image be made of what another one is made of."""
        with self._lock:
            if layers := self.find(source):
                self.add(image, layers)

    def forget(self, image: str) -> None:
        """Remove an image; layers that an instance or another image needs stay."""
        with self._lock:
            (self._images / f"{image}.json").unlink(missing_ok=True)
            self.sweep()

    def use(self, instance: str, image: str) -> Layers:
        """Return what an instance is made of, from its first start on: its image may be deleted, or be a new one."""
        with self._lock:
            kept = self.instances / instance / "layers.json"
            layers = _read(kept)
            if layers is None:
                layers = self.find(image)
                if layers is None:
                    raise MultieipError(f"image {image} of {instance} is a name only: nothing boots from it here")
                kept.parent.mkdir(parents=True, exist_ok=True)
                _write(kept, layers)
            return layers

    def folder_of(self, instance: str) -> Path:
        """Return the folder of all that there is of an instance."""
        return self.instances / instance

    def has_run(self, instance: str) -> bool:
        """Return whether an instance may have written anything yet."""
        return any(path.name != "layers.json" for path in self.folder_of(instance).iterdir())

    def release(self, instance: str) -> None:
        """Remove all that there is of an instance."""
        with self._lock:
            shutil.rmtree(self.instances / instance, ignore_errors=True)
            self.sweep()

    def sweep(self) -> None:
        """Remove the layers that nobody names, and what a killed process left half-made."""
        with self._lock:
            named = [*self._images.glob("*.json"), *self.instances.glob("*/layers.json")]
            used = {layer for path in named for layer in _read(path) or ()}
            for layer in self.layers_folder.iterdir():
                if layer not in used and layer.stem not in self._in_work:
                    if layer.is_dir():
                        shutil.rmtree(layer, ignore_errors=True)
                    else:
                        layer.unlink(missing_ok=True)


def _read(path: Path) -> Layers | None:
    try:
        return tuple(map(Path, json.loads(path.read_bytes())))
    except FileNotFoundError:
        return None


def _write(path: Path, layers: Sequence[Path]) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps([os.fspath(layer) for layer in layers]) + "\n")
    aside.replace(path)
