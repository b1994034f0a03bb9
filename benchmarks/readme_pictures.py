"""Makes the README's pictures from what `robo-dream plan` and `robo-dream train` left.

    python benchmarks/readme_pictures.py runs/plan/<date>/push-3/video.mp4 runs/plan/<date>/lift-3/video.mp4

docs/demo.gif shows the videos one after the other; with --strips runs/train/jaco_s/strips/sheet.png, docs/imagination.png is that sheet.
"""

import argparse
import shutil
from pathlib import Path

import av
from av.video.frame import VideoFrame
from PIL import Image


def frames_of(path: Path, width: int) -> list[Image.Image]:
    with av.open(str(path)) as container:
        images = [frame.to_image() for frame in container.decode(video=0) if isinstance(frame, VideoFrame)]
    return [image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS) for image in images]


def beside(images: list[Image.Image]) -> Image.Image:
    """One picture of all: what has few pixels in one of them, such as the box, then gets its shades of the palette too."""
    joined = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)))
    for n, image in enumerate(images):
        joined.paste(image, (n * image.width, 0))
    return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--strips", type=Path, help="a sheet that `robo-dream train` drew")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--fps", type=float, default=8.0)
    args = parser.parse_args()
    images = [image for path in args.videos for image in frames_of(path, args.width)]
    palette = beside(images[:: max(1, len(images) // 12)]).quantize(192, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    args.out.mkdir(parents=True, exist_ok=True)
    first.save(args.out / "demo.gif", save_all=True, append_images=rest, duration=round(1000 / args.fps), loop=0, optimize=True)
    print(f"{args.out / 'demo.gif'}: {len(images)} pictures, {(args.out / 'demo.gif').stat().st_size / 2**20:.1f} MiB")
    if args.strips is not None:
        shutil.copyfile(args.strips, args.out / "imagination.png")


if __name__ == "__main__":
    main()
