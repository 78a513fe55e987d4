"""The choices of model and data, as plain values for writing down and loading again."""

from dataclasses import dataclass, replace
from pathlib import Path

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from analysis.network import Network, prepare_network
from analysis.split import ImageChoice, Split, choose_data_split, preprocess_of_shape
from data_io.bundled import BUNDLED_DATA
from data_io.preprocessing import Preprocess
from data_io.table_columns import TableColumns
from model_io.encodings.apply_to_network import file_knowledge
from model_io.errors import OpenShapeError
from model_io.input_specs import InputSpec, read_input_specs, write_input_specs
from model_io.load import Wish, load_model, load_uploaded_model
from model_io.loaded_model import LoadedModel
from quant.config import uniform_config
from quant.interruption import limit_processor_time
from quant.progress import Progress, Steps
from sample_models.registry import SAMPLES
from ui.state.sample_networks import sample_networks

BUNDLED = "fashion"
CALIBRATION_IMAGES = 256
MOST_LOADING_S = 60.0  # for reading a file, and as much for tracing it


def is_bundled_data(source: str | None) -> bool:
    """Whether data come with the project."""
    return source in BUNDLED_DATA


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A sample's name or a file; `shown` is the user's name for an upload.

    `input_shape` is the user's shape of the only input. `inputs` describes several inputs, or
    inputs of whole numbers, in the words of `model_io.input_specs.read_input_specs`.
    """

    source: str = "fashion-mobilenet"
    builder: str | None = None
    input_shape: tuple[int, ...] = ()
    shown: str | None = None
    inputs: str = ""

    @property
    def wish(self) -> Wish:
        """The user's description of the inputs."""
        return read_input_specs(self.inputs) or self.input_shape

    def with_shapes(self, text: str) -> "ModelChoice":
        """Return the choice with the user's text about the inputs.

        Raises:
            ModelError: the text cannot be read.
        """
        found = read_input_specs(text)
        if len(found) == 1 and found[0] == InputSpec("", found[0].shape):
            return replace(self, input_shape=found[0].shape, inputs="")
        return replace(self, input_shape=(), inputs=write_input_specs(found))


@dataclass(frozen=True, slots=True)
class DataChoice:
    """The bundled data or a path, the preprocessing, the numbers of images, and the task.

    `targets` is the path of masks or boxes of a folder of images, `priors` that of an SSD's prior
    boxes; empty without. `held_out` scores only the images that a training with `seed` leaves out.
    """

    source: str | None = BUNDLED
    preprocess: str = ""
    calibration: int = CALIBRATION_IMAGES
    samples: int = 2000
    seed: int = 0
    task: TaskKind = TaskKind.AUTO
    head: Head = Head.AUTO
    targets: str = ""
    priors: str = ""
    held_out: bool = False


def read_chosen_model(choice: ModelChoice) -> LoadedModel:
    """Read the chosen model.

    Raises:
        ValueError: the model cannot be read; the sentence tells the reason and the remedy.
    """
    if choice.shown is not None:
        return load_uploaded_model(Path(choice.source), choice.shown, choice.wish)
    return load_model(choice.source, choice.builder, choice.wish)


def load_chosen_network(choice: ModelChoice) -> Steps[Network]:
    """Read, trace and fold the chosen model; a sample is traced once in a process.

    Raises:
        ValueError: the model cannot be read or traced.
    """
    if choice.source in SAMPLES and choice == ModelChoice(choice.source):
        return (
            yield from sample_networks().load_sample(choice.source, lambda: _read_network(choice))
        )
    return (yield from _read_network(choice))


def _read_network(choice: ModelChoice) -> Steps[Network]:
    yield Progress(0.1, "Reading the model")
    what = f"Loading {choice.shown or Path(choice.source).name}"
    with limit_processor_time(MOST_LOADING_S, what):
        loaded = read_chosen_model(choice)
    takes = loaded.expected_inputs or choice.wish
    if not takes:
        raise OpenShapeError(
            "The shape of one input must be known; the file does not tell. "
            "Give it as channels, height, width.",
            "3,224,224",
        )
    yield Progress(0.4, "Tracing the network")
    model = loaded.program or loaded.module
    with limit_processor_time(MOST_LOADING_S, what):
        network = prepare_network(
            loaded.name, model, takes, loaded.digest, loaded.batch, loaded.import_notes
        )
    targets, given = file_knowledge(loaded, network.graph)
    return replace(network, targets=targets, given=given, takes_pixels=loaded.takes_pixels)


def default_data(choice: ModelChoice, network: Network) -> DataChoice:
    """Return the first data of a model: bundled data for most samples, otherwise no data."""
    sample = SAMPLES.get(choice.source)
    if sample is not None and is_bundled_data(sample.dataset):
        return DataChoice(sample.dataset, preprocess=sample.preprocess.to_json())
    if sample is not None:
        return DataChoice(None, sample.preprocess.to_json(), calibration=64, samples=0)
    image = next((o for o in network.graph.inputs if o.real and len(o.shape) == 3), None)
    if image is None and (len(network.graph.inputs) > 1 or not network.graph.inputs[0].real):
        return DataChoice(None, "", calibration=64, samples=0)
    if image is None and len(network.graph.input_shape) == 1:
        return DataChoice(None, Preprocess(table=TableColumns()).to_json(), 64, samples=0)
    shape = network.graph.input_shape if image is None else image.shape
    plain = preprocess_of_shape(shape, scales=not network.takes_pixels)
    return DataChoice(None, plain.to_json(), calibration=64, samples=0)


def open_chosen_data(choice: DataChoice, model: ModelChoice, network: Network) -> Split:
    """Open the chosen data and check the fit with the network.

    The images to score are equal for all configurations, so that runs can be compared.

    Raises:
        ValueError: the data cannot be read or do not fit the network.
    """
    own = choice.source is not None and not is_bundled_data(choice.source)
    return choose_data_split(
        model.source,
        network,
        uniform_config(8, 8),
        ImageChoice(
            data=Path(str(choice.source)) if own else None,
            preprocess=Preprocess.from_json(choice.preprocess)
            if own and choice.preprocess
            else None,
            samples=choice.samples or None,
            calibration=choice.calibration,
            seed=choice.seed,
            task=TaskChoice(
                choice.task,
                choice.head,
                Path(choice.targets) if choice.targets else None,
                Path(choice.priors) if choice.priors else None,
            ),
            held_out=choice.held_out,
        ),
    )
