"""The ChArUco board: drawn at its true size, found in pictures, and its pose before the camera."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import Field

from robo_dream.calibration.poses import pose, project, rotation
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import ConfigError, MissingExtraError
from robo_dream.schema import Unit, configuration

_DPI = 600
_PAPERS = {"A4": (0.210, 0.297), "A3": (0.297, 0.420), "A2": (0.420, 0.594)}  # m
_MARGIN = 0.008  # m that printers leave white
_FIRST_PIXEL = 0.5  # OpenCV counts from the centre of the first pixel, `Intrinsics` from its edge
_MIN_CORNERS = 6  # fewer say too little about a pose


@configuration
class BoardConfig:
    """A chess board with a marker in every white square. Sides in metres, measured on the printed sheet."""

    columns: Annotated[int, Field(ge=3, le=50)] = 7
    rows: Annotated[int, Field(ge=3, le=50)] = 5
    square: Annotated[float, Field(gt=0, le=1), Unit("m")] = 0.035
    marker: Annotated[float, Field(gt=0, le=1), Unit("m")] = 0.026
    dictionary: str = "4X4_50"

    def __post_init__(self) -> None:
        if not 0.4 * self.square <= self.marker <= 0.9 * self.square:
            raise ConfigError(f"marker is {self.marker} m on squares of {self.square} m; allowed is 0.4 to 0.9 of a square")

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in metres."""
        return self.columns * self.square, self.rows * self.square


@dataclass(frozen=True)
class Detection:
    """The corners of a board that were found in one picture: their positions on the board (m) and in the picture (px from its edge)."""

    points: Float[np.ndarray, "corner 3"]
    pixels: Float[np.ndarray, "corner 2"]
    ids: Int[np.ndarray, " corner"]


class Board:
    """Draws and finds one board. Its frame: origin at the top left corner, x along a row, y down a column, z into the sheet."""

    def __init__(self, config: BoardConfig) -> None:
        """Raises `MissingExtraError` without OpenCV, `ConfigError` for a dictionary that it lacks."""
        self.config = config
        self._cv2 = opencv()
        aruco = self._cv2.aruco
        known = sorted(name.removeprefix("DICT_") for name in dir(aruco) if name.startswith("DICT_"))
        if config.dictionary not in known:
            raise ConfigError(f"no marker dictionary {config.dictionary!r}; OpenCV has {', '.join(known)}")
        dictionary = aruco.getPredefinedDictionary(getattr(aruco, f"DICT_{config.dictionary}"))
        self._board: Any = aruco.CharucoBoard((config.columns, config.rows), config.square, config.marker, dictionary)
        parameters = aruco.DetectorParameters()
        parameters.cornerRefinementMethod = aruco.CORNER_REFINE_SUBPIX
        self._detector: Any = aruco.CharucoDetector(self._board, aruco.CharucoParameters(), parameters)
        self._corners = np.asarray(self._board.getChessboardCorners(), np.float64)

    def draw(self, pixels_per_square: int = 120) -> UInt8[np.ndarray, "height width"]:
        """The board without any margin, 0 and 255."""
        config = self.config
        return self._board.generateImage((config.columns * pixels_per_square, config.rows * pixels_per_square), marginSize=0)

    def write_pdf(self, path: Path) -> str:
        """A page with the board at its true size and a ruler to check it by; returns the paper that it needs.

        Raises `ConfigError` when no paper up to A2 holds the board.
        """
        paper, page_size = self._paper()
        pil, draw_on = importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageDraw")
        page = pil.new("1", [_dots(side) for side in page_size], 1)
        board = pil.fromarray(self.draw()).resize([_dots(side) for side in self.config.size], pil.Resampling.NEAREST)
        left = (page.width - board.width) // 2
        page.paste(board.convert("1"), (left, _dots(_MARGIN)))
        pen, top = draw_on.Draw(page), _dots(_MARGIN) + board.height + _dots(0.004)
        pen.line([(left, top), (left + _dots(0.1), top)], fill=0, width=_dots(0.0003))
        for centimetre in range(11):
            x = left + _dots(0.01 * centimetre)
            pen.line([(x, top), (x, top + _dots(0.002))], fill=0, width=_dots(0.0003))
        font = importlib.import_module("PIL.ImageFont").load_default(_dots(0.003))
        said = f"the line is 100.0 mm: print at 100 %.  {self.config.columns}x{self.config.rows} {self.config.dictionary}, "
        said += f"squares {1000 * self.config.square:g} mm, markers {1000 * self.config.marker:g} mm"
        pen.text((left, top + _dots(0.003)), said, fill=0, font=font)
        path.parent.mkdir(parents=True, exist_ok=True)
        page.save(path, "PDF", resolution=_DPI)
        return paper

    def write_png(self, path: Path) -> None:
        """The board alone, at 600 dots an inch, its true size in the file."""
        pil = importlib.import_module("PIL.Image")
        path.parent.mkdir(parents=True, exist_ok=True)
        board = pil.fromarray(self.draw()).resize([_dots(side) for side in self.config.size], pil.Resampling.NEAREST)
        board.save(path, dpi=(_DPI, _DPI))

    def detect(self, image: UInt8[np.ndarray, "height width 3"]) -> Detection | None:
        """The corners in an RGB picture; None when fewer than 6 are found, or all of them lie on one line."""
        grey = self._cv2.cvtColor(image, self._cv2.COLOR_RGB2GRAY)
        corners, ids, _, _ = self._detector.detectBoard(grey)
        if ids is None or len(ids) < _MIN_CORNERS:
            return None
        ids = np.asarray(ids).ravel()
        points = self._corners[ids]
        if len(np.unique(points[:, 0])) < 2 or len(np.unique(points[:, 1])) < 2:
            return None
        return Detection(points, np.asarray(corners, np.float64).reshape(-1, 2) + _FIRST_PIXEL, ids)

    def pose(
        self, detection: Detection, lens: Intrinsics, distortion: tuple[float, ...] = (0.0,) * 5
    ) -> tuple[Float[np.ndarray, "4 4"], float]:
        """`camera_from_board` and the root mean square error of the corners in pixels."""
        cv2 = self._cv2
        matrix = np.array([[lens.fx, 0, lens.cx - _FIRST_PIXEL], [0, lens.fy, lens.cy - _FIRST_PIXEL], [0, 0, 1]])
        pixels = (detection.pixels - _FIRST_PIXEL).reshape(-1, 1, 2)
        bent = np.asarray(distortion)
        _, turns, positions, _ = cv2.solvePnPGeneric(detection.points, pixels, matrix, bent, flags=cv2.SOLVEPNP_IPPE)
        best, smallest = np.eye(4), np.inf
        for turn, position in zip(turns, positions, strict=True):  # a flat board has two poses that look alike
            turn, position = cv2.solvePnPRefineLM(detection.points, pixels, matrix, bent, turn, position)
            found = pose(rotation(np.ravel(turn)), np.ravel(position))
            seen = project(lens, detection.points @ found[:3, :3].T + found[:3, 3], distortion)
            error = float(np.sqrt(np.mean(np.sum((seen - detection.pixels) ** 2, axis=1))))
            if error < smallest:
                best, smallest = found, error
        return best, smallest

    def _paper(self) -> tuple[str, tuple[float, float]]:
        width, height = self.config.size
        need = (width + 2 * _MARGIN, height + 2 * _MARGIN + 0.012)
        for name, (short, long) in _PAPERS.items():
            for page, orientation in (((short, long), "portrait"), ((long, short), "landscape")):
                if need[0] <= page[0] and need[1] <= page[1]:
                    return f"{name} {orientation}", page
        raise ConfigError(f"a board of {width:.3f} x {height:.3f} m fits on no paper up to A2; make its squares smaller")


def opencv() -> Any:
    """The module `cv2`; raises `MissingExtraError`."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingExtraError(f"calibration needs OpenCV ({error}); run `pip install 'robo-dream[opencv]'`") from error


def _dots(metres: float) -> int:
    return round(metres / 0.0254 * _DPI)
