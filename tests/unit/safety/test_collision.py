"""What the collision check says of poses, against distances that are known or computed otherwise."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from robo_dream.errors import ConfigError, ContractError
from robo_dream.safety.collision import CollisionCheck
from robo_dream.safety.limits import Clearance
from sim.tabletop.arm import kept_clear
from sim.tabletop.scene import SceneConfig, build_scene

ARM = """
<mujoco><worldbody>
  <geom name="table" type="box" size="2 2 0.1" pos="0 0 -0.1"/>
  <body name="upper" pos="0 0 0.5"><joint name="a" axis="0 1 0" range="-3 3"/>
    <geom name="upper" type="capsule" size="0.05" fromto="-0.3 0 0 0.4 0 0"/>
    <body name="fore" pos="0.5 0 0"><joint name="b" axis="0 0 1" range="-3 3"/>
      <geom name="fore" type="capsule" size="0.05" fromto="0.1 0 0 0.5 0 0"/>
      <body name="hand" pos="0.6 0 0"><joint name="c" axis="1 0 0"/><geom name="palm" type="sphere" size="0.05"/></body>
    </body></body>
  <body name="object" pos="0.8 0 0.5"><freejoint/><geom name="object" type="sphere" size="0.2"/></body>
</worldbody></mujoco>"""
MODEL = mujoco.MjModel.from_xml_string(ARM)


def check(**clearance: object) -> CollisionCheck:
    return CollisionCheck(MODEL, ("a", "b", "c"), "hand", {}, Clearance(**clearance))  # type: ignore[arg-type]


def test_pose_that_is_clear_has_no_breach_though_an_object_is_in_the_way() -> None:
    assert check().breaches(np.zeros(3)) == ()


@pytest.mark.parametrize("room", [0.0, 0.02])
def test_table_is_breached_where_trigonometry_says(room: float) -> None:
    """The hand's sphere is 1.1 m out on a shoulder 0.5 m high, so it touches at asin(0.45 / 1.1)."""
    touch = np.arcsin((0.45 - room) / 1.1)
    look = check(gripper=room, links=0.0)
    assert look.breaches(np.array([touch - 1e-3, 0.0, 0.0])) == ()
    found = look.breaches(np.array([touch + 5e-3, 0.0, 0.0]))
    assert [(one.kind, one.parts) for one in found] == [("table", ("palm", "table"))]
    assert found[0].depth == pytest.approx(1.1 * np.sin(touch + 5e-3) - 1.1 * np.sin(touch), abs=1e-6)


def test_hand_and_links_have_margins_of_their_own() -> None:
    pose = np.array([np.arcsin(0.44 / 1.1), 0.0, 0.0])  # the palm is 1 cm above the table
    assert check(gripper=0.0, links=0.005).breaches(pose) == ()
    assert check(gripper=0.03, links=0.005).breaches(pose)[0].parts == ("palm", "table")


def test_arm_folded_onto_itself_is_a_breach() -> None:
    found = check(links=0.02).breaches(np.array([0.0, 3.05, 0.0]))
    assert found and {one.kind for one in found} == {"self"} and {"upper", "palm"} <= {part for one in found for part in one.parts}


def test_box_holds_all_links() -> None:
    look = check(workspace=((-0.5, -0.3, -0.1), (1.2, 0.3, 1.0)))
    assert look.breaches(np.zeros(3)) == ()
    found = look.breaches(np.array([0.0, 0.5, 0.0]))
    assert found[0].kind == "workspace" and found[0].parts == ("palm",)
    assert found[0].depth == pytest.approx(0.6 * np.sin(0.5) + 0.05 - 0.3, abs=1e-6)
    high = look.breaches(np.array([-0.9, 0.0, 0.0]))
    assert high and "leaves the workspace" in high[0].sentence


def test_only_what_gets_worse_counts_as_worse() -> None:
    look, touch = check(), np.arcsin(0.45 / 1.1)
    deep, deeper = (look.breaches(np.array([touch + by, 0.0, 0.0])) for by in (0.02, 0.03))
    assert look.least(deeper, deep) == deep and look.least(deep, deeper) == deep and look.least(deep, ()) == ()
    assert look.worse(deeper, deep) and not look.worse(deep, deeper) and not look.worse(deep, deep)


def test_wrong_numbers_are_errors() -> None:
    with pytest.raises(ContractError, match="3 joints"):
        check().breaches(np.zeros(4))
    with pytest.raises(ConfigError, match="low corner"):
        Clearance(workspace=((0.0, 0.0, 0.0), (1.0, 1.0, -1.0)))
    with pytest.raises(ConfigError, match="links"):
        replace(Clearance(), links=1.0)


def test_a_soft_arm_keeps_further_from_the_walls_of_its_box_and_a_stiff_one_uses_all_of_it() -> None:
    box = Clearance(workspace=((-1.0, -1.0, 0.0), (1.0, 1.0, 1.2)))
    soft, stiff = (build_scene(SceneConfig(arm=name)) for name in ("jaco", "ur5e_shapes"))
    assert kept_clear(stiff, box) == box and kept_clear(soft, Clearance()) == Clearance()
    kept = kept_clear(soft, box)
    assert kept.workspace is not None and kept.links == box.links
    np.testing.assert_allclose(np.asarray(kept.workspace) - np.asarray(box.workspace), [[0.0225] * 3, [-0.0225] * 3])
    with pytest.raises(ConfigError, match="make it larger"):
        kept_clear(soft, Clearance(workspace=((0.0, 0.0, 0.0), (1.0, 1.0, 0.04))))
