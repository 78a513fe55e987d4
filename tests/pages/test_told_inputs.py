"""What the network gets is told: a sanity check with the cause, presets, a preview."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from data_io.preprocessing import ChannelOrder, Preprocess
from tests.pages.visit import RUNS, Visit

COLOURS = np.array([[240, 128, 10], [10, 128, 240], [200, 128, 200], [20, 128, 20]], np.uint8)


def colour_net() -> bytes:
    """A network of 3 x 2 x 2 pixels on -1 to 1 that names one of four colours."""
    linear = nn.Linear(3, 4, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, 0, -1], [-1.0, 0, 3], [2.0, 0, 2], [-1.0, 0, -1]]))
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear).eval()
    batch = {"input": {0: torch.export.Dim("batch", min=1, max=1024)}}
    program = torch.export.export(network, (torch.zeros(2, 3, 2, 2),), dynamic_shapes=batch)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def colour_images(order: tuple[int, ...] = (0, 1, 2, 3)) -> bytes:
    """Return 80 images in four colours, labelled in an order, as an .npz file of pixels."""
    kinds = np.arange(80) // 2 % 4
    images = np.repeat(np.repeat(COLOURS[kinds][:, :, None, None], 2, 2), 2, 3)
    buffer = io.BytesIO()
    np.savez(buffer, inputs=images, labels=np.array(order)[kinds])
    return buffer.getvalue()


Scaled = Callable[..., Visit]


@pytest.fixture
def scaled(visit: Visit) -> Scaled:
    """Load the network and its images, with the scaling of a button."""

    def use(button: str, order: tuple[int, ...] = (0, 1, 2, 3)) -> Visit:
        visit.upload("model.upload", "colour.pt2", colour_net()).press("model.load").wait()
        place = f"data.{visit.work.data_choices}"
        visit.at.number_input(key=f"{place}.re").set_value(0)
        visit.press(f"{place}.{button}")
        visit.upload(f"{place}.npz", "colours.npz", colour_images(order)).press("data.use")
        return visit.wait()

    return use


def test_a_wrong_scale_is_told_on_each_page_and_put_right_by_one_click(scaled: Scaled) -> None:
    visit = scaled("Raw, 0 to 255")
    (error,) = visit.open(RUNS).errors
    assert "The inputs have a root mean square of" in error
    assert ": 100% instead of 72% of 40 images." in error
    visit.press("frame.better_inputs").wait().open("pages/model.py").wait()
    assert visit.errors == []
    assert visit.metric("Float top-1").value == "100.00 %"
    steps = Preprocess.from_json(visit.work.data.preprocess)
    assert min(steps.std) > 50


def test_a_right_scale_is_not_suspected_and_its_numbers_are_shown(scaled: Scaled) -> None:
    visit = scaled("-1 to 1")
    assert visit.errors == []
    # (10 - 127.5) / 127.5 and (240 - 127.5) / 127.5
    assert "the network gets numbers from -0.922 to 0.882, mean by channel" in visit.words


def test_numbers_on_0_to_1_are_read_so_and_said(scaled: Scaled) -> None:
    visit = scaled("-1 to 1")
    place = f"data.{visit.work.data_choices}"
    visit.at.text_input(key=f"{place}.mean").set_value("0.485, 0.456, 0.406")
    visit.at.text_input(key=f"{place}.std").set_value("0.229, 0.224, 0.225")
    visit.choose(f"{place}.scale", "as the numbers say")
    assert "mean and std were read on the scale 0 to 1" in visit.words
    # (240 - 123.675) / 58.395 = 1.99 for red, (240 - 103.53) / 57.375 = 2.38 for blue
    assert "Preview" in visit.words
    assert "to 2.38, mean by channel" in visit.words
    visit.press("data.use").wait()
    steps = Preprocess.from_json(visit.work.data.preprocess)
    assert steps.mean == pytest.approx((123.675, 116.28, 103.53))


def test_colours_in_the_order_blue_green_red_are_one_click_away(scaled: Scaled) -> None:
    visit = scaled("-1 to 1")
    place = f"data.{visit.work.data_choices}"
    visit.choose(f"{place}.colours", "BGR").press("data.use").wait()
    (error,) = visit.errors
    assert "With red and blue swapped: 100%" in error
    visit.press("frame.better_inputs").wait()
    assert visit.errors == []
    steps = Preprocess.from_json(visit.work.data.preprocess)
    assert steps.channel_order is ChannelOrder.RGB


def test_classes_in_another_order_are_put_right_by_one_click_and_taken_back(
    scaled: Scaled,
) -> None:
    visit = scaled("-1 to 1", (1, 2, 3, 0))
    (error,) = visit.errors
    assert "With the classes in another order: 100% instead of 0% of 20 images." in error
    visit.press("frame.better_inputs").wait()
    assert visit.errors == []
    assert visit.metric("Float top-1").value == "100.00 %"
    place = f"data.{visit.work.data_choices}"
    box = visit.at.checkbox(key=f"{place}.corrections")
    assert box.label == "Put right: the order of the classes"
    box.uncheck()
    visit.run().press("data.use").wait()
    assert Preprocess.from_json(visit.work.data.preprocess).corrections is None
    assert visit.metric("Float top-1").value == "0.00 %"


def test_the_pictures_are_of_different_classes(scaled: Scaled) -> None:
    visit = scaled("-1 to 1")
    answers = [
        c.value.split()[-1] for c in visit.at.caption if c.value.startswith(":material/check")
    ]
    assert sorted(answers[:4]) == ["0", "1", "2", "3"]
