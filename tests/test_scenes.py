"""Drawn scenes are the same for the same seed, as varied as a bucket, and what they say of themselves is true."""

from collections import Counter
from contextlib import nullcontext
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from embed.decode import Refused, decode
from embed.demo.captions import captions, false_caption, true_caption
from embed.demo.drawing.canvas import Canvas, Dice
from embed.demo.drawing.faces import new_face, paint_face
from embed.demo.drawing.things import ANIMALS, FOOD, OBJECTS
from embed.demo.phrases import PHRASES
from embed.demo.scenes import Drawn, Scene, draw, write_scenes
from embed.demo.spoiled import DAMAGES, VARIANTS
from embed.demo.truth import WITH_PEOPLE, WITHOUT_PEOPLE, Glasses, Mask, Truth


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """A few hundred scenes."""
    return [draw(seed) for seed in range(400)]


@pytest.fixture(scope="module")
def files() -> list[Drawn]:
    """A set of files, a third of them repeated or damaged."""
    return list(write_scenes(300, 5, repeated=0.25, broken=0.1))


def test_one_seed_is_one_scene() -> None:
    """The same seed draws the same pixels and the same truth; another seed draws another picture."""
    first, again, other = draw(11), draw(11), draw(12)
    assert first.truth == again.truth
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


def test_scenes_are_varied(scenes: list[Scene]) -> None:
    """Every kind, every way to wear a mask and glasses, and many sizes come up within a few hundred."""
    truths = [scene.truth for scene in scenes]
    assert {truth.kind for truth in truths} == {*WITH_PEOPLE, *WITHOUT_PEOPLE}
    assert {truth.mask for truth in truths} == {"none", "worn", "chin", "scarf", "beard", "hand"}
    assert {truth.glasses for truth in truths} == {"none", "sunglasses", "forehead", "clear", "hand"}
    assert len({scene.image.size for scene in scenes}) > 100
    assert all(scene.image.mode == "RGB" for scene in scenes)


def test_no_colour_gives_people_away(scenes: list[Scene]) -> None:
    """The mean colour of a picture hardly says whether somebody is in it: it misjudges more than a third."""
    colours = np.array([np.asarray(scene.image).mean((0, 1)) for scene in scenes])  # (N, 3)
    people = np.array([scene.truth.people > 0 for scene in scenes])
    to_people, to_others = (np.linalg.norm(colours - colours[who].mean(0), axis=1) for who in (people, ~people))
    guessed = to_people < to_others
    balanced = ((guessed[people]).mean() + (~guessed[~people]).mean()) / 2
    assert balanced < 0.67


def test_the_truth_agrees_with_itself(scenes: list[Scene]) -> None:
    """Nobody is there where nobody is counted, and only a large face says what it wears."""
    for truth in (scene.truth for scene in scenes):
        assert (truth.people > 0) == (truth.kind in WITH_PEOPLE) == bool(truth.who)
        assert ("people" in truth.facts) != ("nobody" in truth.facts)
        if not truth.face:
            assert (truth.mask, truth.glasses) == ("none", "none")
            assert "no face" in truth.facts
        if truth.mask == "beard":
            assert truth.who == ("man",)


@pytest.mark.parametrize(("mask", "covered"), [("worn", True), ("chin", False), ("scarf", False), ("none", False)])
def test_a_worn_mask_and_nothing_else_hides_the_mouth(mask: Mask, *, covered: bool) -> None:
    """The pixels where the mouth is drawn differ from the bare face's under a worn mask alone."""
    assert _differs(mask, "none", (-0.15, 0.5), (0.15, 0.6)) == covered


@pytest.mark.parametrize(("glasses", "covered"), [("sunglasses", True), ("forehead", False), ("none", False)])
def test_sunglasses_on_the_eyes_and_nothing_else_hide_them(glasses: Glasses, *, covered: bool) -> None:
    """The pixels where the eyes are drawn differ from the bare face's behind sunglasses alone."""
    assert _differs("none", glasses, (-0.4, -0.1), (-0.3, -0.02)) == covered


def _differs(mask: Mask, glasses: Glasses, corner: tuple[float, float], far: tuple[float, float]) -> bool:
    wearing, bare = _bust(mask, glasses), _bust("none", "none")
    face = new_face(Dice(4), "man", (0.5, 0.45), 0.3)
    (left, top), (right, bottom) = (
        (round(x * 200), round(y * 200)) for x, y in (face.front(*corner), face.front(*far))
    )
    return bool((wearing[top:bottom, left:right] != bare[top:bottom, left:right]).mean() > 0.5)


def _bust(mask: Mask, glasses: Glasses) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    canvas = Canvas((200, 200), (90, 120, 90))
    paint_face(canvas, Dice(5), new_face(Dice(4), "man", (0.5, 0.45), 0.3), (mask, glasses))
    return np.asarray(canvas.image)


def test_captions_are_true_and_their_contrast_is_not(scenes: list[Scene]) -> None:
    """A true caption needs only facts of its scene, a false one needs at least one that is missing."""
    dice = Dice(1)
    for truth in (scene.truth for scene in scenes):
        true, false = true_caption(truth, dice), false_caption(truth, dice)
        assert true.needs <= truth.facts
        assert not false.needs <= truth.facts
        assert not set("{}<>") & set(true.text + false.text)
        assert "  " not in true.text


def test_captions_have_many_phrasings() -> None:
    """One scene is described in many ways."""
    truth = Truth("portrait", 1, face=True, mask="worn", glasses="clear", who=("woman",), place="street")
    dice = Dice(2)
    assert len({captions(truth, dice) for _ in range(300)}) > 200


def test_every_phrase_can_be_true(scenes: list[Scene]) -> None:
    """No phrase needs a fact that no scene has: such a phrase would only ever be a wrong caption."""
    subjects = {f"subject:{name}" for name in (*FOOD, *OBJECTS, *ANIMALS)}
    known = {fact for scene in scenes for fact in scene.truth.facts} | subjects
    assert {fact for phrase in PHRASES for fact in phrase.needs} <= known


def test_files_are_the_same_for_the_same_arguments(files: list[Drawn]) -> None:
    """Names, bytes and truth repeat themselves."""
    assert list(write_scenes(300, 5, repeated=0.25, broken=0.1)) == files
    assert len({file.name for file in files}) == 300
    assert len({file.name.rsplit("/", 1)[0] for file in files}) > 2


def test_near_duplicates_name_their_original(files: list[Drawn]) -> None:
    """Every kind comes up, names an earlier file with the same truth, and looks like it."""
    by_name = {file.name: file for file in files}
    repeated = [file for file in files if file.variant]
    assert set(Counter(file.variant for file in repeated)) == set(VARIANTS)
    for file in repeated:
        original = by_name[file.original]
        assert original.truth == file.truth
        assert not original.variant
        if file.variant != "mirrored":
            assert np.abs(_small(file.data) - _small(original.data)).mean() < 26


def _small(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("L").resize((12, 12), Image.Resampling.BOX)).astype(np.float64)


def test_only_damaged_files_are_refused(files: list[Drawn]) -> None:
    """Every kind of damage comes up and is refused by pass 1, and everything else is decoded."""
    assert {file.damage for file in files} == {"", *DAMAGES}
    for file in files:
        assert (file.truth is None) == bool(file.damage)
        with pytest.raises(Refused) if file.damage else nullcontext():
            decode(file.data)
