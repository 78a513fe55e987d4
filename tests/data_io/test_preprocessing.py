import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_io.bundled import FASHION
from data_io.errors import DatasetError
from data_io.image_geometry import Interpolation, ResizeTo
from data_io.preprocessing import Layout, Preprocess
from sample_models.registry import IMAGENET
from sample_models.train import normalize_fashion_images

RAW = Preprocess(std=(1.0, 1.0, 1.0))


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def test_fashion_is_what_the_networks_were_trained_on() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(4)[:784].reshape(1, 1, 28, 28)
    ours = FASHION.preprocess_image(images[0, 0].numpy())
    assert ours.shape == (1, 28, 28)
    torch.testing.assert_close(ours, normalize_fashion_images(images)[0], rtol=0, atol=1e-6)


def test_imagenet_by_hand() -> None:
    image = picture(341, 256)
    cropped = image.crop((58, 16, 58 + 224, 16 + 224))  # 224 = 7/8 of 256; (341 - 224) // 2 = 58
    wanted = (torch.from_numpy(np.array(cropped)).permute(2, 0, 1).float() - 127) / 128
    assert torch.equal(IMAGENET.preprocess_image(image), wanted)


def test_imagenet_resizes_with_bicubic() -> None:
    image = picture(100, 120)
    square = image.crop((6, 16, 93, 103))  # int(100 * 0.875) = 87
    wanted = np.array(square.resize((224, 224), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert torch.equal(
        IMAGENET.preprocess_image(image), (torch.from_numpy(wanted).float() - 127) / 128
    )


def test_short_side_then_crop() -> None:
    steps = dataclasses.replace(RAW, resize=32, crop=28)
    image = picture(50, 100)
    wanted = np.array(image.resize((32, 64), Image.Resampling.BILINEAR).crop((2, 18, 30, 46)))
    assert torch.equal(
        steps.preprocess_image(image), torch.from_numpy(wanted).permute(2, 0, 1).float()
    )


def test_long_thin_images_do_not_fill_the_memory() -> None:
    with pytest.raises(
        DatasetError, match="at most 67108864 pixels after the resize, got 1 x 30000"
    ):
        dataclasses.replace(RAW, resize=224).preprocess_image(Image.new("L", (1, 30_000)))


def test_stretch_to_a_square() -> None:
    steps = dataclasses.replace(RAW, resize=20, resize_to=ResizeTo.BOTH_SIDES)
    assert steps.preprocess_image(picture(50, 100)).shape == (3, 20, 20)


def test_a_letterbox_keeps_proportions_and_pads_with_grey() -> None:
    """Ultralytics' LetterBox: 50 x 100 within 40 x 40 is 20 x 40, with 10 columns each side."""
    image = picture(50, 100)
    steps = dataclasses.replace(RAW, resize=40, resize_to=ResizeTo.PADDED)
    found = steps.preprocess_image(image)
    assert found.shape == (3, 40, 40)
    assert found[:, :, :10].unique().tolist() == found[:, :, 30:].unique().tolist() == [114.0]
    inside = np.array(image.resize((20, 40), Image.Resampling.BILINEAR))
    assert torch.equal(found[:, :, 10:30], torch.from_numpy(inside).permute(2, 0, 1).float())


def test_height_and_width_may_differ() -> None:
    steps = Preprocess.from_json('{"resize": [24, 60], "pad": 0, "resize_to": "padded"}')
    assert (steps.resize, steps.resize_width) == (24, 60)
    found = steps.preprocess_image(picture(50, 100))
    assert found.shape == (3, 24, 60)
    assert float(found[:, :, :24].abs().max()) == 0.0
    stretched = Preprocess.from_json('{"resize": [24, 60]}')
    assert stretched.resize_to is ResizeTo.BOTH_SIDES
    assert stretched.preprocess_image(picture(50, 100)).shape == (3, 24, 60)
    assert Preprocess.from_json(steps.to_json()) == steps
    assert {"resize_width", "pad"}.isdisjoint(json.loads(Preprocess(resize=24).to_json()))


def test_scale_is_per_channel_on_0_to_255() -> None:
    steps = Preprocess(mean=(0.0, 10.0, 100.0), std=(1.0, 2.0, 4.0))
    pixel = np.array([[[50, 60, 120]]], np.uint8)
    assert steps.preprocess_image(pixel).flatten().tolist() == [50.0, 25.0, 5.0]


def test_layout() -> None:
    steps = dataclasses.replace(RAW, layout=Layout.NHWC)
    assert steps.preprocess_image(picture(7, 5)).shape == (5, 7, 3)
    assert torch.equal(
        steps.preprocess_image(picture(7, 5)).permute(2, 0, 1), RAW.preprocess_image(picture(7, 5))
    )


def test_grey_and_colour_are_converted() -> None:
    grey = Preprocess(channels=1, mean=(0.0,), std=(1.0,))
    assert grey.preprocess_image(picture(4, 4)).shape == (1, 4, 4)
    assert RAW.preprocess_image(np.full((4, 4, 1), 7, np.uint8)).unique().tolist() == [7.0]


def test_images_of_16_bits_are_refused() -> None:
    image = Image.fromarray(np.zeros((4, 4), np.uint16))
    with pytest.raises(DatasetError, match="8 bits a channel, got Pillow's mode I"):
        RAW.preprocess_image(image)


def test_images_that_are_too_small_to_crop() -> None:
    with pytest.raises(DatasetError, match="at least crop = 28 pixels on both sides, got 9 x 40"):
        dataclasses.replace(RAW, crop=28).preprocess_image(picture(9, 40))


@pytest.mark.parametrize("shape", [(4, 4, 2), (2, 4, 4, 3), (4,)])
def test_arrays_that_are_no_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match="image array must"):
        RAW.preprocess_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"channels": 2}, "channels must be 1 or 3"),
        ({"mean": (1.0,)}, "mean must hold 3"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be 1e-06 to"),
        ({"std": (1.0, float("nan"), 1.0)}, "std must hold 3 finite"),
        ({"resize": 8, "resize_width": 9}, "resize_width goes with resize, the height"),
        ({"resize_width": 9, "resize_to": ResizeTo.PADDED}, "got resize None of the padded"),
        ({"pad": 256}, "pad must be a pixel's value"),
        ({"crop_fraction": 0.0}, "crop_fraction must"),
        ({"crop_fraction": float("nan")}, "crop_fraction must"),
        ({"resize": 0}, "resize must be 1 to"),
        ({"crop": 100_000}, "crop must be 1 to"),
    ],
)
def test_fields_that_cannot_be(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        dataclasses.replace(Preprocess(), **fields)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", [None, 1, 512])
@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("fraction", [None, 1.0, 0.1 + 0.2])
def test_json_round_trip(
    *,
    channels: int,
    resize: int | None,
    interpolation: Interpolation,
    layout: Layout,
    fraction: float | None,
) -> None:
    steps = Preprocess(
        channels=channels,
        crop_fraction=fraction,
        resize=resize,
        resize_to=ResizeTo.BOTH_SIDES,
        interpolation=interpolation,
        crop=resize,
        mean=(1 / 3,) * channels,
        std=(2.0,) * channels,
        layout=layout,
    )
    assert Preprocess.from_json(steps.to_json()) == steps


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "bad JSON"),
        ("[1]", "JSON object, got list"),
        ('{"resise": 3, "x": 1}', "got resise, x; correct or remove"),
        ('{"resize": "3"}', "resize must be a whole number"),
        ('{"resize": true}', "resize must be a whole number"),
        ('{"channels": null}', "channels must be a whole number"),
        ('{"mean": 3}', "mean must be a list"),
        ('{"mean": [1, 2, "3"]}', "mean must be a list"),
        ('{"mean": [NaN, 2, 3]}', "mean must hold 3 finite"),
        ('{"resize": [8]}', r"or \[height, width\], got \[8\]"),
        ('{"resize": [8, 9], "resize_to": "short side"}', "resize_width goes with"),
        ('{"pad": null}', "pad must be a whole number"),
        ('{"crop_fraction": "all"}', "crop_fraction must be a number"),
        ('{"interpolation": "cubic"}', "one of nearest, bilinear, bicubic, lanczos, got 'cubic'"),
        ('{"layout": ["NCHW"]}', "layout must be one of"),
    ],
)
def test_json_that_cannot_be(text: str, match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        Preprocess.from_json(text)


def test_json_is_plain() -> None:
    fields = json.loads(IMAGENET.to_json())
    assert fields["interpolation"] == "bicubic"
    assert fields["crop_fraction"] == 0.875
    assert fields["mean"] == [127.0, 127.0, 127.0]


@pytest.mark.parametrize(
    ("text", "mean", "std", "assumed"),
    [
        # 0.485 x 255 = 123.675 and so on: the numbers of ImageNet on both scales
        (
            '{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}',
            (123.675, 116.28, 103.53),
            (58.395, 57.12, 57.375),
            True,
        ),
        ('{"mean": [0.5, 0.5, 0.5], "scale": "0..1"}', (127.5,) * 3, (255.0,) * 3, False),
        ('{"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}', (127.5,) * 3, (255.0,) * 3, True),
        ('{"mean": [0.5, 0.5, 0.5], "scale": "0..255"}', (0.5,) * 3, (255.0,) * 3, False),
        ('{"mean": [0, 0, 0], "std": [1, 1, 1]}', (0.0,) * 3, (1.0,) * 3, False),
        ('{"mean": [0, 0, 0], "std": [1, 1, 1], "scale": "0..1"}', (0.0,) * 3, (255.0,) * 3, False),
        ('{"mean": [0.5, 0.5, 0.5], "std": [2, 1, 1]}', (0.5,) * 3, (2.0, 1.0, 1.0), False),
    ],
)
def test_scale_of_mean_and_std(
    text: str, mean: tuple[float, ...], std: tuple[float, ...], *, assumed: bool
) -> None:
    steps = Preprocess.from_json(text)
    assert steps.mean == pytest.approx(mean)
    assert steps.std == pytest.approx(std)
    assert bool(steps.notes) is assumed
    assert Preprocess.from_json(steps.to_json()) == steps
    assert not Preprocess.from_json(steps.to_json()).notes


def test_scale_must_be_one_of_two() -> None:
    with pytest.raises(DatasetError, match=r"scale must be one of 0\.\.255, 0\.\.1, got 'unit'"):
        Preprocess.from_json('{"scale": "unit"}')
