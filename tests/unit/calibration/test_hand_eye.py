"""Hand-eye calibration and joint check against known truth: exact geometry with noise, OpenCV's own solver, and rendered pictures."""

from collections.abc import Callable

import numpy as np
import pytest

from robo_dream.calibration.calibration_board import Board, BoardConfig, Detection
from robo_dream.calibration.hand_eye import Mount, View, solve
from robo_dream.calibration.joints import check_joints
from robo_dream.calibration.moves import tool_matrix, view_poses
from robo_dream.calibration.poses import distance, inverse, moved, pose, project, rotation
from robo_dream.control.kinematics import Kinematics
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import ContractError
from sim.rendering import SceneRenderer
from sim.tabletop.calibration_board import PlacedBoard, holding, mount_on_tool
from sim.tabletop.scene import CameraConfig, SceneConfig
from sim.tabletop.world import World

LENS = Intrinsics(640, 480, 600.0, 600.0, 322.0, 238.0)
CORNERS = np.array([(x, y, 0.0) for y in range(1, 5) for x in range(1, 6)]) * 0.025
NOISE = 0.1  # px
CAMERA = pose(rotation(np.array([1.9, -1.6, 0.8])), np.array([0.95, 0.05, 0.6]))  # world_from_camera or, smaller, tool_from_camera


def truth(mount: Mount) -> tuple[np.ndarray, np.ndarray]:
    """Camera and board as `solve` gives them."""
    if mount == "world":
        return CAMERA, pose(rotation(np.array([0.1, 0.05, 0.3])), np.array([0.02, -0.07, 0.03]))
    on_tool = pose(rotation(np.array([-0.2, 0.1, 0.05])), np.array([0.0, -0.09, -0.06]))
    return on_tool, pose(rotation(np.array([np.pi, 0, 0.2])), np.array([0.4, 0.1, 0.0]))


def views(mount: Mount, count: int = 12, tilt: float = 0.4, noise: float = NOISE, about_one_axis: bool = False) -> list[View]:
    """Exact geometry: the tool is placed so that the board lies about 0.5 m before the camera, tilted at random."""
    random, (camera, board), result = np.random.default_rng(3), truth(mount), []
    for _ in range(count):
        tilted = np.array([0, 0, random.uniform(-1, 1)]) if about_one_axis else random.uniform(-tilt, tilt, 3)
        place = np.array([-0.07, -0.06, 0.5]) + random.uniform(-0.05, 0.05, 3)
        camera_from_board = pose(rotation(tilted) @ rotation(np.array([0.3, 0.0, 0.0])), place)
        if mount == "world":
            world_from_tool = camera @ camera_from_board @ inverse(board)
        else:
            world_from_tool = board @ inverse(camera_from_board) @ inverse(camera)
        pixels = project(LENS, CORNERS @ camera_from_board[:3, :3].T + camera_from_board[:3, 3])
        pixels = pixels + random.normal(0, noise, pixels.shape)
        alone = moved(camera_from_board, random.normal(0, 1, 6) * noise * [3e-4, 3e-4, 2e-3, 5e-3, 5e-3, 1e-3])
        result.append(View(world_from_tool, Detection(CORNERS, pixels, np.arange(len(CORNERS))), alone))
    return result


@pytest.mark.parametrize("mount", ["world", "tool"])
def test_the_camera_is_found_where_it_stands_within_its_own_uncertainty(mount: Mount) -> None:
    found, (camera, board) = solve(views(mount), LENS, mount), truth(mount)
    metres, degrees = distance(found.camera, camera)
    assert metres < 0.001 and degrees < 0.1
    assert 1000 * metres < 4 * found.std_mm and degrees < 4 * found.std_deg
    assert distance(found.board, board)[0] < 0.002
    assert found.rms_px == pytest.approx(NOISE * np.sqrt(2), rel=0.15) and found.rms_px <= found.worst_px


@pytest.mark.parametrize("mount", ["world", "tool"])
def test_without_noise_the_closed_form_is_exact(mount: Mount) -> None:
    found = solve(views(mount, noise=0.0), LENS, mount, refine=False)
    assert distance(found.camera, truth(mount)[0]) < (1e-6, 1e-4)


def test_a_picture_of_a_wrong_pose_is_dropped() -> None:
    seen = views("world", 14)
    seen[5] = View(moved(seen[5].world_from_tool, np.array([0.01, 0, 0, 0, 0.02, 0])), seen[5].detection, seen[5].camera_from_board)
    found = solve(seen, LENS, "world")
    assert (found.num_views, found.num_dropped) == (13, 1) and distance(found.camera, CAMERA)[0] < 0.001


def test_it_agrees_with_opencvs_own_solver() -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "calibrateHandEye"):
        pytest.skip("OpenCV 5 has no calibrateHandEye")
    seen = views("tool", 12, noise=0.0)
    hands, boards = [view.world_from_tool for view in seen], [view.camera_from_board for view in seen]
    turn, place = cv2.calibrateHandEye(
        [h[:3, :3] for h in hands], [h[:3, 3] for h in hands], [b[:3, :3] for b in boards], [b[:3, 3] for b in boards],
        method=cv2.CALIB_HAND_EYE_PARK,
    )  # fmt: skip
    assert distance(solve(seen, LENS, "tool").camera, pose(turn, np.ravel(place))) < (1e-5, 1e-3)


def test_too_few_views_or_turns_about_one_axis_are_refused() -> None:
    with pytest.raises(ContractError, match="at least 4"):
        solve(views("world", 3), LENS, "world")
    with pytest.raises(ContractError, match="tilt it to several sides"):
        solve(views("world", about_one_axis=True), LENS, "world")


@pytest.fixture(scope="module")
def board() -> Board:
    pytest.importorskip("cv2")
    return Board(BoardConfig(columns=6, rows=5, square=0.025, marker=0.019))


def rendered(board: Board, mount: Mount) -> tuple[np.ndarray, list[View], np.ndarray, Kinematics, Intrinsics]:
    """True camera, views and joints of a Jaco that is looked at, or looks, through MuJoCo's camera."""
    width, height = board.config.size
    if mount == "world":
        held = pose(np.eye(3), np.array([0.015, -height / 2, 0.03]))
        placed, lean = PlacedBoard(board.draw(), (width, height), "tool", held), (0, 0.5, 0)
    else:
        lying = rotation(np.array([np.pi, 0, 0]))
        placed, lean = PlacedBoard(board.draw(), (width, height), "world", pose(lying, np.array([0.36, 0.06, 0.002]))), (0, 0, 0)
    scene = SceneConfig(cameras=(CameraConfig("front", (0.95, 0.0, 0.58), (0.43, 0.0, 0.2), 42.0, 640, 480),))
    on_tool = pose(rotation(np.array([-0.25, 0, 0])), np.array([0.0, -0.09, -0.06]))
    with World(scene, holding(placed)) as world:
        world.set_object(np.array([0.35, 0.5, 0.03, 1, 0, 0, 0]))
        camera = world.world_from_camera("front")
        if mount == "tool":
            mount_on_tool(world, "front", on_tool)
            camera = on_tool
        lens, renderer = world.intrinsics("front"), SceneRenderer(world.model, 640, 480)
        seen, joints = [], []
        for joint_pos in view_poses(world.kinematics, np.array(world.scene.arm.home), np.array(lean, float), 0.3, 0.04, 16):
            world.set_arm(joint_pos, 0.0)
            detection = board.detect(renderer.draw(world.data, "front"))
            if detection is not None:
                seen.append(View(tool_matrix(world.kinematics, joint_pos), detection, board.pose(detection, lens)[0]))
                joints.append(joint_pos)
        renderer.close()
        return camera, seen, np.array(joints), world.kinematics, lens


@pytest.fixture(scope="module")
def looked_at(board: Board) -> tuple:
    return rendered(board, "world")


def test_a_rendered_board_gives_the_camera_on_its_stand_to_a_millimetre(looked_at: tuple) -> None:
    camera, seen, _, _, lens = looked_at
    found = solve(seen, lens, "world")
    metres, degrees = distance(found.camera, camera)
    assert len(seen) >= 8 and found.rms_px < 0.3 and metres < 0.001 and degrees < 0.1


def test_a_rendered_board_gives_the_camera_on_the_tool_to_a_millimetre(board: Board) -> None:
    camera, seen, _, _, lens = rendered(board, "tool")
    found = solve(seen, lens, "tool")
    metres, degrees = distance(found.camera, camera)
    assert len(seen) >= 6 and found.rms_px < 0.3 and metres < 0.001 and degrees < 0.1


def test_a_joint_that_turns_the_other_way_and_zeros_that_are_off_are_found(looked_at: tuple) -> None:
    _, seen, joint_pos, kinematics, lens = looked_at
    seen, joint_pos = seen[:9], joint_pos[:9]  # enough, and quicker
    forward: Callable[[np.ndarray], np.ndarray] = lambda pos: tool_matrix(kinematics, pos)  # noqa: E731
    right = check_joints(joint_pos, seen, forward, lens, "world")
    assert right.flipped == () and right.seen[0] is False and right.seen[-1] is False and all(right.seen[1:-1])
    assert np.abs(right.offset[1:-1]).max() < np.deg2rad(0.3)
    off, signs = np.deg2rad([0.0, 2.0, -2.0, 1.5, 3.0, 0.0]), np.array([1.0, 1, -1, 1, 1, 1])
    wrong = check_joints((joint_pos - off) * signs, seen, forward, lens, "world")
    assert wrong.flipped == (2,) and wrong.rms_px < 0.3
    np.testing.assert_allclose(np.rad2deg(wrong.offset[1:-1]), np.rad2deg(off[1:-1]), atol=0.3)
