"""A folder with everything between the source files and a trained model, and the stages in it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.machine import Cost, run
from knee.splits import split_table


@dataclass(frozen=True)
class Workspace:
    """Files of one data set under the published (leaky) split, for comparisons alone."""

    folder: Path
    data: Path
    weights: Path

    @property
    def params(self) -> Path:
        """The composed parameters."""
        return self.folder / "params.yaml"

    def path(self, name: str) -> Path:
        """A file or folder of this workspace."""
        return self.folder / name

    def compose(self, *overrides: str) -> None:
        """Write params.yaml: the defaults of conf/ with the data, the weights and `overrides`."""
        from hydra import compose, initialize_config_dir
        from omegaconf import OmegaConf

        given = ["data=folder", f"data.path={self.data}", f"weights={self.weights}", *overrides]
        conf = str(machine.ROOT / "conf")
        with initialize_config_dir(conf, version_base=None):
            text = OmegaConf.to_yaml(compose("config", overrides=given), resolve=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.params.write_text(text, encoding="utf-8")

    def take_in(self) -> Cost:
        """Records, pixels, split and training rows."""
        cost = self.stage(
            "ingest",
            f"--images={self.data}",
            f"--sheet={machine.ROOT / 'conf' / 'no_sheet.csv'}",
            f"--records-out={self.path('records.csv')}",
            f"--pixels-out={self.path('pixels')}",
            self._nothing_known(),
        )
        records = f"--records={self.path('records.csv')}"
        split = self.path("split.csv")
        self.stage(
            "split",
            records,
            f"--keep={machine.ROOT / 'conf' / 'no_split.csv'}",
            f"--split-out={split}",
            f"--images-out={self.path('split_images.csv')}",
            f"--subsets-out={self.path('subsets.csv')}",
            f"--metrics-out={self.path('split.json')}",
        )
        self.stage("oversample", records, f"--split={split}", f"--rows-out={self.path('rows.csv')}")
        return cost

    def embed(self, backbone: str) -> Cost:
        """Features of `backbone`, from the start."""
        return self.stage(
            "embed",
            f"--backbone={backbone}",
            f"--pixels={self.path('pixels')}",
            f"--images={self.path('split_images.csv')}",
            f"--features-out={self.path('features') / backbone}",
            self._nothing_known(),
        )

    def train(self, backbone: str) -> Cost:
        """A model on these features, from the start."""
        model = self.path("models") / backbone
        return self.stage(
            "train",
            f"--backbone={backbone}",
            f"--features={self.path('features') / backbone}",
            f"--pixels={self.path('pixels')}",
            f"--records={self.path('records.csv')}",
            f"--split={self.path('split.csv')}",
            f"--rows={self.path('rows.csv')}",
            f"--checkpoints={self.path('checkpoints') / backbone}",
            f"--model-out={model}",
            f"--history-out={model.with_suffix('.csv')}",
            f"--out-of-fold-out={model.with_suffix('.members.csv')}",
        )

    def _nothing_known(self) -> str:
        """The flag of an empty folder of known results."""
        shutil.rmtree(self.path("known"), ignore_errors=True)
        return f"--known-results={self.path('known')}"

    def stage(self, name: str, *arguments: str) -> Cost:
        """One stage as a process of its own, with MLflow in this folder."""
        command = [f"stages.{name}", f"--params={self.params}", *arguments]
        return run(command, {"DVC_ROOT": str(self.folder), "MLFLOW_TRACKING_URI": ""})

    def accuracy(self, backbone: str, subset: str) -> float:
        """Of the trained model on a subset, by OpenVINO in float32."""
        from knee.classifier.features import engines
        from knee.classifier.net.trained_model import TrainedModel
        from knee.prediction.batch_prediction import Model
        from knee.records import records_table
        from knee.storage import row_files

        table = records_table.read_records(self.path("records.csv"))
        joined = table.merge(
            split_table.read_split(self.path("split.csv"))[["record", "subset"]], on="record"
        )
        chosen = joined[joined["subset"] == subset]
        trained = TrainedModel.read(self.path("models") / backbone)
        model = Model(trained, engines.choose("auto", "float32"))
        rows = chosen["pixel_row"].to_numpy()
        pixels = row_files.PixelFile(self.path("pixels"), rows)
        made = model.observe(pixels[rows]).probabilities
        found = made.argmax(axis=1)
        return float((found == chosen["class_index"].to_numpy()).mean())
