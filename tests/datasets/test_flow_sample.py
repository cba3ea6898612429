import numpy as np

from tubedet.datasets.flow_sample import affine_flow, similarity


def test_a_similarity_takes_its_source_to_its_target_and_turns_x_towards_y() -> None:
    matrix = similarity(np.pi / 2, 2.0, np.array([1.0, 1.0]), np.array([10.0, 20.0]))
    np.testing.assert_allclose(matrix @ [1, 1, 1], [10, 20, 1])
    np.testing.assert_allclose(matrix @ [2, 1, 1], [10, 22, 1], atol=1e-12)


def test_affine_flow_is_where_a_pixel_goes_minus_where_it_is() -> None:
    zoom = similarity(0.0, 1.5, np.array([2.0, 1.0]), np.array([3.0, 1.0]))
    flow = affine_flow(zoom, width=5, height=3)
    assert flow.shape == (2, 3, 5)
    np.testing.assert_allclose(flow[:, 1, 2], [1, 0])  # the centre only shifts
    np.testing.assert_allclose(flow[:, 0, 4], [2, -0.5])  # (2, -1) from it: stretched by half
