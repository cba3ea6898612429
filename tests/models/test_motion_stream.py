"""Flow as the image that a stream pre-trained on images takes."""

import torch

from tests.small_detector import learn_statistics
from tubedet.models.motion_stream import MotionStream, encode_motion
from tubedet.models.yolov2.darknet19 import Darknet19Stream


def test_flow_is_encoded_as_in_the_brox_images() -> None:
    flow = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1)
    expected = torch.tensor([16 * 3 + 128, 16 * -4 + 128, 16 * 5 + 128]) / 255
    torch.testing.assert_close(encode_motion(flow).flatten(), expected)


def test_the_stream_takes_flow_as_that_image_in_float32() -> None:
    torch.manual_seed(0)
    stream, of_images = MotionStream(width=1 / 16), Darknet19Stream(width=1 / 16)
    flow = (5 * torch.randn(2, 2, 64, 96)).half()
    u, v = flow.float().unbind(dim=1)
    image = (16 * torch.stack([u, v, (u * u + v * v).sqrt()], dim=1) + 128) / 255
    learn_statistics(of_images, image)
    stream.load_state_dict(of_images.state_dict())

    expected = of_images(image)

    assert expected.std() > 0.1
    torch.testing.assert_close(stream.eval()(flow), expected, atol=1e-4, rtol=1e-4)
