"""What a film sees of a world besides the animal's body: pictures, water surface, banks, sky and lights."""

from typing import TYPE_CHECKING

import mujoco
import numpy as np

from sim.paint import paint
from sim.skin import add_skin

if TYPE_CHECKING:
    from sim.arena import World

__all__ = ["add_look"]


def add_look(spec: mujoco.MjSpec, world: "World", length: float) -> None:
    """Skin, ground, water surface, banks, sky and lights: nothing that moves or is touched.

    Args:
        spec: Animal and ground, whose material "ground" is made here.
        world: The place (`sim.arena.World`).
        length: Of the animal, m.
    """
    assets = {f"{name}.png": paint(name) for name in ("newt", "fin", world.texture)}
    if world.water:
        assets["water.png"] = paint("water")
    if world.walls:
        assets["soil.png"] = paint("soil")
    spec.assets = assets

    def material(name: str, picture: str, **options: object) -> None:
        spec.add_texture(
            name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, file=f"{picture}.png", content_type="image/png"
        )
        added = spec.add_material(name=name, **options)
        added.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name

    per_metre = 1.0 / (2.2 * length)  # a picture covers 2.2 body lengths
    ground = dict(texuniform=True, specular=0.1, shininess=0.1)
    material("newt", "newt", specular=0.5, shininess=0.55)
    material("fin", "fin", specular=0.4, shininess=0.5)
    material("ground", world.texture, texrepeat=[per_metre, per_metre], **ground)
    add_skin(spec, length)
    if world.stones:
        spec.add_material(name="stone", specular=0.15, shininess=0.2)
    if world.walls:
        material("bank", "soil", texrepeat=[per_metre, per_metre], **ground)
    if world.water:
        material(
            "water",
            "water",
            rgba=[0.75, 0.95, 1.0, 0.34],
            texrepeat=[0.6 * per_metre, 0.6 * per_metre],
            texuniform=True,
            specular=0.9,
            shininess=0.9,
            reflectance=0.15,
        )
        spec.worldbody.add_geom(
            name="water",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[0, world.walls * length, 0.1],
            contype=0,
            conaffinity=0,
            material="water",
            castshadow=False,
            group=1,
        )
    _add_banks(spec, world, length)
    _add_light(spec, length)


def _add_banks(spec: mujoco.MjSpec, world: "World", length: float) -> None:
    """Grassy banks at the walls of the channel."""
    for side, name in ((1.0, "left"), (-1.0, "right")):
        if world.walls:
            wide, tall, long = 15 * length, 0.5 * (0.12 - world.floor) * length, 80 * length
            spec.worldbody.add_geom(
                name=f"bank.{name}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=[long, wide, tall],
                pos=[0, side * (world.walls * length + wide), world.floor * length + tall],
                material="bank",
                castshadow=False,
                contype=0,
                conaffinity=0,
                group=1,
            )


def _add_light(spec: mujoco.MjSpec, length: float) -> None:
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.36, 0.58, 0.82],
        rgb2=[0.88, 0.93, 0.95],
        width=256,
        height=1536,
    )
    visual = spec.visual
    visual.headlight.ambient = [0.32, 0.32, 0.33]
    visual.headlight.diffuse = [0.28, 0.28, 0.28]
    visual.headlight.specular = [0.1, 0.1, 0.1]
    visual.rgba.haze = [0.88, 0.93, 0.95, 1]
    visual.map.shadowclip = 6 * length
    visual.quality.shadowsize = 2048
    visual.map.znear, visual.map.zfar = 0.02, 100.0
    spec.stat.extent = 2.5 * length
    directional = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    head, follow = spec.body("link.0"), mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM  # so that the shadow map follows too
    sun = np.array([-0.45, 0.5, -1.0])
    head.add_light(
        name="sun",
        type=directional,
        mode=follow,
        pos=-8 * length * sun,
        dir=sun,
        diffuse=[0.62, 0.60, 0.54],
        specular=[0.5, 0.5, 0.45],
        castshadow=True,
    )
    spec.worldbody.add_light(
        name="skylight",
        type=directional,
        pos=[0, 0, 20 * length],
        dir=[0.5, -0.4, -0.7],
        diffuse=[0.13, 0.15, 0.19],
        specular=[0, 0, 0],
        castshadow=False,
    )
