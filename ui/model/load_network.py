"""Load a model beside the page, and remember what a person said of the model's inputs."""

from pathlib import Path

from analysis.network import Network
from model_io.digest import file_digest
from quant.errors import QuantError
from quant.progress import Steps
from sample_models.registry import SAMPLES
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.code_consent import needs_consent
from ui.state.model_and_data import ModelChoice, load_chosen_network
from ui.state.model_load import ModelLoad
from ui.state.workspace import FirstData, Workspace, first_data


def start_loading(workspace: Workspace, choice: ModelChoice) -> None:
    """Load a model beside the page; the present model stays until the new model is ready."""
    if choice.builder and needs_consent(workspace.store, choice.builder):
        raise QuantError(
            f"Code must be agreed to before it runs; got {choice.builder}, which nobody agreed to. "
            "Load the model on Model."
        )
    title = f"Loading {choice.shown or choice.source}"
    known = with_known_shapes(workspace, choice)

    def load_steps() -> Steps[tuple[Network, FirstData]]:
        network = yield from load_chosen_network(known)
        return network, first_data(known, network)

    def take_model(found: tuple[Network, FirstData]) -> None:
        remember_shapes(workspace, known)
        workspace.take_network(known, *found)

    job = Job(JobKind.LOAD_MODEL, title, load_steps, take_model)
    workspace.load = ModelLoad(known, job)
    workspace.runner.submit(job)


def with_known_shapes(workspace: Workspace, choice: ModelChoice) -> ModelChoice:
    """Return a choice with the user's former description of the inputs of the file."""
    question = _inputs_question(choice)
    said = workspace.store.find_answer(question) if question and not choice.wish else None
    return choice.with_shapes(said) if isinstance(said, str) else choice


def remember_shapes(workspace: Workspace, choice: ModelChoice) -> None:
    """Keep the user's description of a file's inputs, so that the app asks only once."""
    question = _inputs_question(choice)
    if question and choice.wish:
        said = choice.inputs or ",".join(map(str, choice.input_shape))
        workspace.store.keep_answer(question, said)


def _inputs_question(choice: ModelChoice) -> str:
    path = Path(choice.source)
    if choice.source in SAMPLES or not path.is_file():
        return ""
    return f"inputs of {file_digest(path)} {choice.builder or ''}"
