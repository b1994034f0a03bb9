"""Arms other than the default: UR5e from ogbench, and folders laid out like the Menagerie's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robo_dream.control.cartesian import downward_yaw
from robo_dream.errors import ConfigError, MissingExtraError
from sim.tabletop.behaviours.skills import CLOSED, OPEN, go, squeeze
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

# Six hinges, like a UR's; a hand of two slides. Motors, not servos, drive the joints.
_ARM = """
<mujoco model="six">
  <compiler angle="radian"/>
  <option integrator="implicitfast"/>
  <default><default class="six"><joint armature="0.1" damping="1" range="-3.1 3.1"/><geom contype="0" conaffinity="0"/></default></default>
  <worldbody>
    <light pos="0 0 2"/>
    <body name="base" childclass="six">
      <geom type="cylinder" size=".06 .05" mass="2"/>
      <body name="link1" pos="0 0 .25"><joint name="joint1" axis="0 0 1"/><geom type="sphere" size=".05" mass="2"/>
        <body name="link2"><joint name="joint2" axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 .4" size=".04" mass="3"/>
          <body name="link3" pos="0 0 .4"><joint name="joint3" axis="0 1 0"/>
            <geom type="capsule" fromto="0 0 0 .4 0 0" size=".03" mass="2"/>
            <body name="link4" pos=".4 0 0"><joint name="joint4" axis="0 1 0"/><geom type="sphere" size=".03" mass=".5"/>
              <body name="link5" pos="0 0 -.05"><joint name="joint5" axis="1 0 0"/><geom type="sphere" size=".03" mass=".5"/>
                <body name="link6" pos="0 0 -.05"><joint name="joint6" axis="0 0 1"/><geom type="box" size=".02 .05 .015" mass=".3"/>
                  <site name="{site}" pos="0 0 -.09" quat="0 1 0 0"/>
                  {hand}
                </body>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    {servo}
    <motor joint="joint2" ctrlrange="-150 150"/><motor joint="joint3" ctrlrange="-150 150"/>
    <motor joint="joint4" ctrlrange="-20 20"/><motor joint="joint5" ctrlrange="-20 20"/><motor joint="joint6" ctrlrange="-20 20"/>
    {grip}
  </actuator>
  <keyframe><key name="home" qpos="{home}"/></keyframe>
</mujoco>"""
_FINGER = """
<body name="{side}_finger" pos="0 0 -.09"><joint name="{side}_finger" type="slide" axis="0 {sign} 0" range="0 .045" armature=".01"/>
  <geom type="box" size=".015 .006 .03" pos="0 {at} 0" mass=".05" contype="1" conaffinity="1"/></body>"""
_HAND = _FINGER.format(side="left", sign=1, at=0.006) + _FINGER.format(side="right", sign=-1, at=-0.006)
_GRIP = '<position joint="left_finger" kp="500" kv="10"/><position joint="right_finger" kp="500" kv="10"/>'
_SERVO = '<position joint="joint1" kp="2000" kv="300"/>'


def menagerie_folder(path: Path, *, has_hand: bool = True, site: str = "attachment_site") -> Path:
    folder = path / "maker_six"
    folder.mkdir()
    hand, grip, home = (_HAND, _GRIP, "0 0 0 0 0 0 0 0") if has_hand else ("", "", "0 0 0 0 0 0")
    (folder / "six.xml").write_text(_ARM.format(site=site, hand=hand, grip=grip, servo=_SERVO, home=home))
    (folder / "scene.xml").write_text('<mujoco><include file="six.xml"/><worldbody><geom type="plane" size="1 1 1"/></worldbody></mujoco>')
    return folder


def lift_the_box(world: World) -> float:
    """Metres to which the box was lifted from a spot in the middle of the table."""
    world.home()
    spot = np.array([0.43, 0.05])
    world.set_object(np.array([*spot, 0.03, 1, 0, 0, 0]))
    for moves in (
        go(world, np.array([*spot, 0.14]), 0.0, OPEN), go(world, np.array([*spot, 0.03]), 0.0, OPEN, 0.01),
        squeeze(world, CLOSED, 9), go(world, np.array([*spot, 0.18]), 0.0, CLOSED),
    ):  # fmt: skip
        for move in moves:
            world.step(move)
    return float(world.object_poses[0, 2])


def test_an_arm_of_a_menagerie_folder_lifts_the_box(tmp_path):
    with World(SceneConfig(arm=f"menagerie:{menagerie_folder(tmp_path)}")) as world:
        tool = world.kinematics.forward(world.measured[:-1])
        assert abs(tool.pos[1]) < 0.01 and abs(downward_yaw(tool.quat)) < 0.01
        assert world.measured[-1] == pytest.approx(0.0, abs=1e-6)
        assert lift_the_box(world) > 0.12


def test_servos_of_the_model_are_kept_and_motors_replaced(tmp_path):
    with World(SceneConfig(arm=f"menagerie:{menagerie_folder(tmp_path)}")) as world:
        gains = world.model.actuator_gainprm[world.scene.servos, 0]
        assert gains[0] == 2000.0 and (gains[1:] > 10).all()
        assert world.model.nu == 8  # no motor is left beside the servos
        np.testing.assert_allclose(world.model.actuator_biasprm[world.scene.servos, 1], -gains)


def test_an_arm_without_a_hand_moves(tmp_path):
    with World(SceneConfig(arm=f"menagerie:{menagerie_folder(tmp_path, has_hand=False)}")) as world:
        before = world.arm_state().tool_pos
        for _ in range(8):
            world.step(np.array([0, 0.01, -0.01, 0, 0.2]))
        assert world.measured[-1] == 0.0
        np.testing.assert_allclose(world.arm_state().target_pos - before, [0, 0.08, -0.08], atol=2e-3)


def test_a_tool_is_named_after_the_hash_when_it_cannot_be_guessed(tmp_path):
    folder = menagerie_folder(tmp_path, site="flange")
    with pytest.raises(ConfigError, match="flange"):
        World(SceneConfig(arm=f"menagerie:{folder}"))
    with World(SceneConfig(arm=f"menagerie:{folder}#flange")) as world:
        assert world.scene.tool_site.endswith("flange")
    with pytest.raises(ConfigError, match="5 hinges"):
        World(SceneConfig(arm=f"menagerie:{folder}#link5"))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no folder or XML file"):
        World(SceneConfig(arm=f"menagerie:{tmp_path}/nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no XML file"):
        World(SceneConfig(arm=f"menagerie:{tmp_path}/empty"))


def test_a_menagerie_name_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(MissingExtraError, match=r"robo-dream\[menagerie\]"):
        World(SceneConfig(arm="menagerie:franka_emika_panda"))


def test_the_ur5e_without_ogbench_says_what_to_install():
    code = "import sys; sys.modules['ogbench'] = None\nfrom sim.tabletop.arms import ur5e\nur5e.build()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr and "pip install 'robo-dream[ogbench]'" in done.stderr


def test_the_ur5e_lifts_the_box():
    pytest.importorskip("ogbench")
    with World(SceneConfig(arm="ur5e")) as world:
        assert lift_the_box(world) > 0.12


def test_the_ur5es_linkage_closes_without_a_jump():
    pytest.importorskip("ogbench")
    with World(SceneConfig(arm="ur5e")) as world:
        world.set_arm(np.asarray(world.scene.arm.home), 0.6)
        world.step(np.zeros(5))
        assert world.measured[-1] == pytest.approx(0.6, abs=0.03)
