"""What is in a drawn scene, known exactly because it was drawn."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image

Kind: TypeAlias = Literal[
    "landscape", "building", "street", "room", "food", "object", "animal",
    "portrait", "person", "child", "group", "far", "edge",
]  # fmt: skip
Mask: TypeAlias = Literal["none", "worn", "chin", "scarf", "beard", "hand"]
Glasses: TypeAlias = Literal["none", "sunglasses", "forehead", "clear", "hand"]

WITHOUT_PEOPLE: tuple[Kind, ...] = ("landscape", "building", "street", "room", "food", "object", "animal")
WITH_PEOPLE: tuple[Kind, ...] = ("portrait", "person", "child", "group", "far", "edge")


@dataclass(frozen=True)
class Truth:
    """Everything that can be said with certainty about one scene."""

    kind: Kind
    people: int
    face: bool = False  # large enough that a mask or sunglasses on it are a question
    mask: Mask = "none"  # "worn" alone covers the mouth and the nose with a mask
    glasses: Glasses = "none"  # "sunglasses" alone hides the eyes
    who: tuple[str, ...] = ()  # "man", "woman", "child": whoever is there, each once
    place: str = "plain"  # "street", "building", "room", "fields", "mountains", "beach", "plain"
    subject: str = ""  # the thing that a picture without people shows: "apple", "dog"

    @property
    def facts(self) -> frozenset[str]:
        """Return the facts that a caption may need: "people", "place:street", "mask:worn", "eyes visible"."""
        people = ("people", "several" if self.people > 1 else "one person") if self.people else ("nobody",)
        always = (f"kind:{self.kind}", f"place:{self.place}", *people, *self.who)
        subject = (f"subject:{self.subject}",) if self.subject else ()
        return frozenset((*always, *subject, *(self._of_face() if self.face else ("no face",))))

    def _of_face(self) -> tuple[str, ...]:
        mouth = () if self.mask in {"worn", "hand"} else ("mouth visible",)
        eyes = () if self.glasses == "sunglasses" else ("eyes visible",)
        bare = ("bare eyes",) if self.glasses in {"none", "hand"} else ()
        unmasked = () if self.mask in {"worn", "chin"} else ("no mask",)
        return ("face", f"mask:{self.mask}", f"glasses:{self.glasses}", *mouth, *eyes, *bare, *unmasked)


@dataclass(frozen=True)
class Scene:
    """A drawn picture and what is in it."""

    image: Image.Image  # mode RGB, 128 to 224 px on a side
    truth: Truth
