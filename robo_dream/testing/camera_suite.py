"""What every `Camera` must do. Inherit in a test file, give `make`, and pytest does the rest."""

import numpy as np

from robo_dream.embodiment import Camera, Clock, WallClock


class CameraSuite:
    """`class TestMyCamera(CameraSuite)` with `make`, and `make_clock` for a camera that lives in its own time."""

    frame_dt = 0.1  # s in which a new exposure is sure to come

    def make(self) -> Camera:
        """A new camera, not yet entered."""
        raise NotImplementedError

    def make_clock(self, camera: Camera) -> Clock:
        return WallClock()

    def test_is_a_camera_with_a_name(self) -> None:
        camera = self.make()
        assert isinstance(camera, Camera) and camera.name

    def test_frame_has_the_size_of_the_intrinsics(self) -> None:
        with self.make() as camera:
            image = camera.read().image
            assert image.dtype == np.uint8
            assert image.shape == (camera.intrinsics.height, camera.intrinsics.width, 3)

    def test_focal_lengths_are_positive_and_the_centre_is_in_the_picture(self) -> None:
        with self.make() as camera:
            lens = camera.intrinsics
        assert lens.fx > 0 and lens.fy > 0
        assert 0 < lens.cx < lens.width and 0 < lens.cy < lens.height

    def test_pose_is_rigid(self) -> None:
        with self.make() as camera:
            pose = camera.world_from_camera
        rotation = pose[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(rotation) > 0
        np.testing.assert_array_equal(pose[3], [0, 0, 0, 1])

    def test_newer_frames_are_later_and_count_up(self) -> None:
        with self.make() as camera:
            clock, first = self.make_clock(camera), camera.read()
            clock.sleep_until(clock.now() + self.frame_dt)
            second = camera.read()
        assert second.time > first.time
        assert second.number > first.number

    def test_frame_is_stamped_by_the_clock_and_not_in_the_future(self) -> None:
        with self.make() as camera:
            clock, frame = self.make_clock(camera), camera.read()
            assert -1e-3 <= clock.now() - frame.time < 1.0

    def test_reading_again_leaves_an_earlier_frame_alone(self) -> None:
        with self.make() as camera:
            first = camera.read()
            kept = first.image.copy()
            first_number = first.number
            clock = self.make_clock(camera)
            clock.sleep_until(clock.now() + self.frame_dt)
            second = camera.read()
        np.testing.assert_array_equal(first.image, kept)
        assert first.number == first_number and not np.shares_memory(first.image, second.image)
